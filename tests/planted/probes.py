"""Bugs in what models are asked without training."""

from __future__ import annotations

from planted.mutant import Mutant

PROBING = "lit_distill/measures/probing"
MODES = "lit_distill/tools/evaluating/modes"
TESTS = f"tests/{PROBING}"
ASKED = f"tests/{MODES}"

PROBES = (
    Mutant(
        "of a word of several pieces the first is asked for",
        f"{PROBING}/blanks.py",
        "for number, place in enumerate(places):",
        "for number, place in enumerate(places[:1]):",
        f"{TESTS}/test_blanks.py -k never_cut",
    ),
    Mutant(
        "pieces behind the one that is guessed are shown",
        f"{PROBING}/blanks.py",
        "for hidden in places[number:]:",
        "for hidden in places[number : number + 1]:",
        f"{TESTS}/test_blanks.py -k never_cut",
    ),
    Mutant(
        "decoders guess a token from itself",
        f"{PROBING}/blanks.py",
        "tuple(range(first - 1, len(ids) - 1))",
        "tuple(range(first, len(ids)))",
        f"{TESTS}/test_blanks.py -k all_behind_it",
    ),
    Mutant(
        "the probability of an unknown token stands for a word",
        f"{PROBING}/blanks.py",
        "if not own or outside or unknown:",
        "if not own or outside:",
        f"{TESTS}/test_blanks.py -k cannot_be_asked_for",
    ),
    Mutant(
        "padding is read",
        f"{PROBING}/guesses.py",
        "mask[row, : len(own)] = 1",
        "mask[row] = 1",
        f"{TESTS}/test_blanks.py -k asked_beside_them",
    ),
    Mutant(
        "logits behind the first tile are those of the first",
        f"{PROBING}/guesses.py",
        "places = torch.from_numpy(rows[start : start + ROWS])",
        "places = torch.from_numpy(rows[:ROWS][: len(rows) - start])",
        f"{TESTS}/test_blanks.py -k asked_beside_them",
    ),
    Mutant(
        "the first token of a decoder's text is free",
        f"{PROBING}/text_losses.py",
        "tuple(place - 1 for place in places), tuple(ids))",
        "tuple(place - 1 for place in places[1:]), tuple(ids[1:]))",
        f"{TESTS}/test_text_losses.py -k first_token",
    ),
    Mutant(
        "long texts end at max_length",
        f"{PROBING}/text_losses.py",
        "for first in range(0, len(ids), room):",
        "for first in range(0, min(1, len(ids)), room):",
        f"{TESTS}/test_text_losses.py -k in_parts",
    ),
    Mutant(
        "log-ratios have the other sign",
        f"{PROBING}/pronouns.py",
        "summary(his - hers)",
        "summary(hers - his)",
        f"{TESTS}/test_pronouns.py -k recovered",
    ),
    Mutant(
        "means over padded positions",
        f"{PROBING}/sentences.py",
        "weights = mask\n",
        "weights = torch.ones_like(mask)\n",
        f"{TESTS}/test_sentences.py -k alone",
    ),
    Mutant(
        "BPSN and BNSP are confused",
        f"{PROBING}/subgroups.py",
        "(inside, labels != inside, labels == inside)",
        "(inside, labels == inside, labels != inside)",
        f"{TESTS}/test_subgroups.py -k shares_of_pairs",
    ),
    Mutant(
        "the power mean is a mean",
        f"{PROBING}/subgroups.py",
        "np.mean(table**power, axis=0) ** (1 / power)",
        "np.mean(table, axis=0)",
        f"{TESTS}/test_subgroups.py -k worst_group",
    ),
    Mutant(
        "distances are in nats",
        f"{PROBING}/responses.py",
        "jensenshannon(ours, theirs, base=2)",
        "jensenshannon(ours, theirs)",
        f"{TESTS}/test_responses.py -k jensen",
    ),
    Mutant(
        "parts of words contradict facts",
        f"{PROBING}/responses.py",
        r"(?<!\w){re.escape(string)}(?!\w)",
        r"{re.escape(string)}",
        f"{TESTS}/test_responses.py -k contradict_facts",
    ),
    Mutant(
        "similarity is given without its zero",
        f"{PROBING}/responses.py",
        "zero = found[self.control]",
        "zero = dict.fromkeys(found[self.control], 0.0)",
        f"{TESTS}/test_responses.py -k the_control",
    ),
    Mutant(
        "the joint score is a product of means",
        f"{PROBING}/style_transfer.py",
        "float((style * meaning * fluency).mean())",
        "float(style.mean() * meaning.mean() * fluency.mean())",
        f"{TESTS}/test_style_transfer.py -k mean_of_products",
    ),
    Mutant(
        "probes are asked with dropout",
        "callbacks/reports/model_probe.py",
        "asked.model.eval()",
        "asked.model.train()",
        "tests/callbacks/reports/test_model_probe.py -k before_the_first_step",
    ),
)

ZERO_SHOT = (
    Mutant(
        "labels with several words are likelier for it",
        f"{MODES}/cloze.py",
        " - np.log((form.owners == n).sum())",
        "",
        f"{ASKED}/test_cloze.py -k mean_probability",
    ),
    Mutant(
        "a mask that a text quotes is a mask",
        f"{MODES}/cloze.py",
        "Asked.opened(question.model, engine=engine)",
        "Asked.opened(question.model)",
        f"{ASKED}/test_cloze.py -k mean_probability",
    ),
    Mutant(
        "the template is cut with its text",
        f"{MODES}/cloze.py",
        "shorter = _shortened(asked, texts[longer], over)",
        "shorter = _shortened(asked, texts[longer], over + 2)",
        f"{ASKED}/test_cloze.py -k are_cut",
    ),
    Mutant(
        "training texts are asked about",
        f"{MODES}/texts.py",
        "texts_of_split(split, own, data.settings, data.max_broken)",
        'texts_of_split("train", own, data.settings, data.max_broken)',
        f"{ASKED}/test_pseudo_perplexity.py -k held_out",
    ),
    Mutant(
        "one of several translations is relevant",
        f"{MODES}/retrieval.py",
        "partners.setdefault(source, set()).add(target)",
        "partners[source] = {target}",
        f"{ASKED}/test_retrieval.py -k every_text",
    ),
    Mutant(
        "rows of training are asked about",
        f"{MODES}/retrieval.py",
        'rows if self.whole or split == "validation" else ()',
        "rows",
        f"{ASKED}/test_retrieval.py -k held_out",
    ),
)
