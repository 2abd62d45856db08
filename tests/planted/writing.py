"""Bugs in what writes, and in what learns from it; "DistiLLM" and "trl": those of their code."""

from __future__ import annotations

from planted.mutant import Mutant

GENERATION = "tests/lit_distill/models/generation/test_generation.py"
GKD = "tests/lit_distill/methods/test_gkd.py"
DISTILLM = "tests/lit_distill/methods/test_distillm.py"
RUNS = "tests/lit_distill/methods/test_on_policy.py"

WRITING = (
    Mutant(
        "DistiLLM: only some schedules have a threshold",
        "lit_distill/methods/generated_text/distillm.py",
        "self.start, self.threshold = threshold, threshold",
        "self.start, self.threshold = threshold, threshold or None",
        f"{DISTILLM} -k without_a_threshold",
    ),
    Mutant(
        "DistiLLM: the first written token has no row, and one after the end has",
        "lit_distill/models/generation/continuation.py",
        "(place >= prompts.unsqueeze(1) - 1) & (place < ends.unsqueeze(1) - 1)",
        "(place >= prompts.unsqueeze(1)) & (place < ends.unsqueeze(1))",
        f"{DISTILLM} -k formula",
    ),
    Mutant(
        "DistiLLM: hard targets are the tokens that are read",
        "lit_distill/models/generation/continuation.py",
        "both.gather(1, column + 1)",
        "both.gather(1, column)",
        "tests/lit_distill/methods/test_sequence_kd.py -k formula",
    ),
    Mutant(
        "DistiLLM: written text never shows its end",
        "lit_distill/models/generation/generation.py",
        "        lengths[alive] += 1\n        ends = torch.isin(token, endings)\n",
        "        ends = torch.isin(token, endings)\n        lengths[alive] += (~ends).long()\n",
        f"{DISTILLM} -k end",
    ),
    Mutant(
        "DistiLLM: the on-policy baseline replays old text",
        "lit_distill/methods/generated_text/gkd.py",
        "if self.global_step % self.reuse == 0 or not self.kept:",
        "if not self.kept:",
        f"{GKD} -k as_often",
    ),
    Mutant(
        "DistiLLM: validation averages the means of batches",
        "lit_distill/measures/logits.py",
        "self.sums[:, : table.shape[1]].index_add(0, places, table)",
        "self.sums[:, : table.shape[1]].index_add(0, places, table / len(table))",
        "tests/lit_distill/measures tests/lit_distill/training/test_distillation.py",
    ),
    Mutant(
        "trl: divided by the tokens of the response that was thrown away",
        "lit_distill/models/generation/continuation.py",
        '"rows": len(rows),',
        '"rows": batch["counts"].get("rows", 1),',
        f"{GKD} -k replaced",
    ),
    Mutant(
        "hard targets are the student's own samples",
        "lit_distill/methods/generated_text/gkd.py",
        ' and self.author != "student"',
        "",
        f"{GKD} -k hard_targets",
    ),
    Mutant(
        "every rank chooses authors of its own",
        "lit_distill/methods/generated_text/_on_policy.py",
        "key(self.seed, Purpose.SOURCE, number)",
        "key(self.seed + self.global_rank, Purpose.SOURCE, number)",
        f"{GKD} -k all_ranks",
    ),
    Mutant(
        "a text depends on its place in the batch",
        "lit_distill/models/generation/generation.py",
        "torch.arange(len(prompt_ids)) if sample_ids is None else sample_ids",
        "torch.arange(len(prompt_ids))",
        f"{GENERATION} -k beside",
    ),
    Mutant(
        "positions count the padding on the left",
        "lit_distill/models/generation/generation.py",
        "(mask.cumsum(1) - 1).clamp(min=0)",
        "torch.ones_like(mask).cumsum(1) - 1",
        f"{GENERATION} -k greedy",
    ),
    Mutant(
        "ended rows stay in the cache",
        "lit_distill/models/generation/generation.py",
        "        self.mask, self.places = self.mask[rows], self.places[rows]\n"
        "        self.cache.batch_select_indices(rows)",
        "        self.mask, self.places = self.mask[rows], self.places[rows]\n"
        "        self.cache.batch_select_indices(torch.arange(len(rows)))",
        f"{GENERATION} -k beside",
    ),
    Mutant(
        "text is written with dropout",
        "lit_distill/models/generation/generation.py",
        "        model.eval()\n",
        "",
        f"{GENERATION} -k goes_on",
    ),
    Mutant(
        "the student stays in eval mode after it wrote",
        "lit_distill/models/generation/generation.py",
        "                module.training = True",
        "                pass",
        f"{GENERATION} -k goes_on",
    ),
    Mutant(
        "the second EOS of a list does not end a text",
        "lit_distill/models/generation/text_ends.py",
        "found.update(ids if isinstance(ids, list | tuple) else",
        "found.update(ids[:1] if isinstance(ids, list | tuple) else",
        f"{GENERATION} -k ids_that_end",
    ),
    Mutant(
        "the replay buffer is lost on resume",
        "lit_distill/methods/generated_text/distillm.py",
        '        self.buffer.load(memory["buffer"])\n',
        "",
        f"{RUNS} -k bit_by_bit",
    ),
    Mutant(
        "the reused window is lost on resume",
        "lit_distill/methods/generated_text/gkd.py",
        '        self.kept = memory["windows"][self.trainer.global_rank]\n',
        "",
        f"{RUNS} -k bit_by_bit",
    ),
    Mutant(
        "each rank replays what it wrote itself",
        "lit_distill/models/generation/replay_buffer.py",
        "if torch.distributed.is_initialized():",
        "if False:",
        f"{RUNS} -k two_ranks",
    ),
    Mutant(
        "in windows of the data the student answers prompts that have a response",
        "lit_distill/models/generation/continuation.py",
        'chosen = (batch["labelled"] == 0).nonzero().squeeze(1)\n    return',
        'chosen = (batch["labelled"] >= 0).nonzero().squeeze(1)\n    return',
        f"{GKD} -k unlabelled_prompts_of",
    ),
    Mutant(
        "in windows of the data the student learns hard targets from himself",
        "lit_distill/methods/generated_text/_on_policy.py",
        "self.student, right=False)",
        "self.student, right=True)",
        f"{GKD} -k unlabelled_prompts_of",
    ),
)
