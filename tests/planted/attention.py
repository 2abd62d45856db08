"""Bugs in what is compared of attention."""

from __future__ import annotations

from planted.mutant import Mutant

DISTANCES = "lit_distill/losses/relation_distances.py"
TERMS = "lit_distill/training/states/attention_terms.py"
STATES = "lit_distill/training/states/state_terms.py"
OF_DISTANCES = "tests/lit_distill/losses/test_relation_mse.py"
OF_TERMS = "tests/lit_distill/training/states/test_attention_terms.py"

ATTENTION = (
    Mutant(
        "squares are averaged over hidden keys, too",
        DISTANCES,
        "(bias == 0).sum(-1, True)",
        "(bias <= 0).sum(-1, True)",
        OF_DISTANCES,
    ),
    Mutant(
        "a softmax without the part of its slope that all keys share",
        DISTANCES,
        "gaps.sub_(means).mul_(q)",
        "gaps.mul_(q)",
        f"{OF_DISTANCES} -k oracle",
    ),
    Mutant(
        "probabilities are compared where scores are asked for",
        TERMS,
        "partial(relation_mse, of=self.terms.compare)",
        'partial(relation_mse, of="probabilities")',
        f"{OF_TERMS} -k projections",
    ),
    Mutant(
        "attention of the layer above",
        TERMS,
        'Site("query", layer - 1), Site("key", layer - 1)',
        'Site("query", layer), Site("key", layer)',
        f"{OF_TERMS} -k transformers_own",
    ),
    Mutant(
        "later positions are seen",
        TERMS,
        'batch.get("segments"), causal)',
        'batch.get("segments"), False)',
        f"{OF_TERMS} -k transformers_own",
    ),
    Mutant(
        "texts in one row attend to each other",
        TERMS,
        'batch["attention_mask"], batch.get("segments"), causal',
        'batch["attention_mask"], None, causal',
        f"{OF_TERMS} -k packed",
    ),
    Mutant(
        "padding is attended to",
        TERMS,
        'Visible(batch["attention_mask"], ',
        'Visible(torch.ones_like(batch["attention_mask"]), ',
        f"{OF_TERMS} -k padding",
    ),
    Mutant(
        "unequal heads are compared",
        TERMS,
        'if heads[0]["query"] != heads[1]["query"]:',
        "if False:",
        f"{OF_TERMS} -k refused",
    ),
    Mutant(
        "the embeddings' pair stands for a layer",
        TERMS,
        "for own, other in states if own and other]",
        "for own, other in states]",
        f"{OF_TERMS} -k embeddings",
    ),
    Mutant(
        "the teacher's queries and keys stay until the end",
        "lit_distill/models/teachers/live.py",
        "encoded.captured.pop(site)",
        "encoded.captured[site]",
        f"{OF_TERMS} -k keep",
    ),
    Mutant(
        "a pair keeps copies of its states",
        STATES,
        "value = checkpoint(pair, use_reentrant=False, preserve_rng_state=False)",
        "value = pair()",
        f"{OF_TERMS} -k keep",
    ),
)
