"""Bugs in corpora of prompts and in what looks at written text."""

from __future__ import annotations

from planted.mutant import Mutant

COLLATION = "data_modules/prompting/collation.py"
CORPUS = "tests/data_modules/test_prompts.py"
WRITTEN = "tests/callbacks/written_text/test_continuations.py"

PROMPTS = (
    Mutant(
        "the mask of the response is off by one: tokens predict themselves",
        COLLATION,
        "places[parts.answered] - 1",
        "places[parts.answered]",
        f"{CORPUS} -k rows_are_the_positions",
    ),
    Mutant(
        "the first token of the response has no row",
        COLLATION,
        "asked = column < prompts[row]  #",
        "asked = column <= prompts[row]  #",
        f"{CORPUS} -k rows_are_the_positions",
    ),
    Mutant(
        "no EOS behind a response",
        "data_modules/prompting/rendering.py",
        "else [*response, self.eos_ids[0]]",
        "else response",
        f"{CORPUS} -k rows_are_the_positions",
    ),
    Mutant(
        "what a template writes behind the ending token is trained",
        "data_modules/prompting/rendering.py",
        "response = response[: ends[0] + 1] if ends else",
        "response = response if ends else",
        "tests/data_modules/prompting/test_rendering.py",
    ),
    Mutant(
        "prompts are padded on the right",
        COLLATION,
        "+ (room - parts.prompts)[parts.row]",
        "",
        f"{CORPUS} -k padded_on_the_left",
    ),
    Mutant(
        "hidden responses stay in the text",
        COLLATION,
        "shown = parts.asked | parts.answered",
        "shown = parts.asked | ~parts.asked",
        f"{CORPUS} -k hidden_response",
    ),
    Mutant(
        "hidden responses are trained",
        COLLATION,
        "answered = ~asked & labelled[row]",
        "answered = ~asked",
        f"{CORPUS} -k hidden_response",
    ),
    Mutant(
        "a larger share of responses is another choice",
        COLLATION,
        "key(self.labelled_seed, Purpose.LABELLED)",
        "key(self.labelled_seed + int(100 * self.labelled_share), Purpose.LABELLED)",
        f"{CORPUS} -k nested",
    ),
    Mutant(
        "targets of pairs are not shifted",
        COLLATION,
        "np.concatenate([starts.ravel(), own[inner] + 1])",
        "np.concatenate([starts.ravel(), own[inner]])",
        f"{CORPUS} -k encoder_decoders",
    ),
    Mutant(
        "the beginning token comes twice with a chat template",
        "data_modules/prompting/rendering.py",
        "self._before = [] if rendering.chat else probe.ids[:first]",
        "self._before = probe.ids[:first]",
        "tests/data_modules/prompting/test_rendering.py",
    ),
    Mutant(
        "prompt and response are tokenised as one text",
        "data_modules/prompting/rendering.py",
        "behind = _behind(whole, len(prompt), ids)",
        "behind = whole.ids[len(ids) :]",
        "tests/data_modules/prompting/test_rendering.py -k same_ids",
    ),
    Mutant(
        "a template whose prompt is no beginning is accepted",
        "data_modules/prompting/rendering.py",
        "if not whole.startswith(head):",
        "if False:",
        "tests/data_modules/prompting/test_rendering.py",
    ),
    Mutant(
        "an ending token inside of a response is trained through",
        "data_modules/prompting/rendering.py",
        "if any(token in self.eos_ids for token in content):",
        "if False:",
        "tests/data_modules/prompting/test_rendering.py",
    ),
    Mutant(
        "rows that are too long are kept",
        "data_modules/prompting/store.py",
        "elif length > limits.whole:",
        "elif False:",
        f"{CORPUS} -k left_out_whole",
    ),
    Mutant(
        "rows are held out by their text, not by their group",
        "data_modules/storing/splitting.py",
        'held = held_out(row.group.encode("utf-8"), settings.holdout)',
        'held = held_out(row.encode("utf-8"), settings.holdout)',
        f"{CORPUS} -k group",
    ),
    Mutant(
        "given validation prompts are trained on",
        "data_modules/storing/splitting.py",
        "    kept = ~known\n",
        "    kept = known | True\n",
        f"{CORPUS} -k given_validation",
    ),
    Mutant(
        "a resumed run may see other labels",
        "data_modules/prompts.py",
        "chosen = Responses(pairs, labelled_share, labelled_seed, only_labelled)\n",
        "chosen = Responses(pairs, 1.0, labelled_seed, only_labelled)\n",
        f"{CORPUS} -k resume",
    ),
    Mutant(
        "rows of pairs are looked up in the source",
        "lit_distill/batch.py",
        'return batch["decoder_input_ids"] if "decoder_input_ids" in batch else batch["input_ids"]',
        'return batch["input_ids"]',
        "tests/lit_distill/models/fitting/test_data_fit.py",
    ),
    Mutant(
        "the teacher writes at every validation",
        "callbacks/written_text/continuations.py",
        "if split not in self._teachers:",
        "if True:",
        f"{WRITTEN} -k share",
    ),
    Mutant(
        "the ending token counts as text",
        "callbacks/written_text/generation_metrics.py",
        "written.tokens[: len(written.tokens) - written.ended]",
        "written.tokens[:]",
        f"{WRITTEN} -k by_hand",
    ),
    Mutant(
        "ROUGE with letters a to z only",
        "callbacks/written_text/text_scores.py",
        "normalizer=_plain, tokenizer=words)",
        "normalizer=None, tokenizer=None)",
        "tests/callbacks/written_text/test_text_scores.py",
    ),
    Mutant(
        "mean of sentence BLEU-like scores: chrF is averaged over sentences",
        "callbacks/written_text/text_scores.py",
        "chrf = CHRF().corpus_score(written, [wanted]).score",
        "chrf = fmean(CHRF().sentence_score(a, [b]).score for a, b in pairs)",
        "tests/callbacks/written_text/test_text_scores.py",
    ),
)
