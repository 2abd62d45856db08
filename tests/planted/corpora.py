"""Bugs in what is fed from texts: ends of texts, words, and what a method reads."""

from __future__ import annotations

from planted.mutant import Mutant

CORPORA = (
    Mutant(
        "decoders never see a text end",
        "data_modules/text/framing.py",
        "if eos is not None and eos not in end:",
        "if False:",
        "tests/data_modules/text/test_framing.py -k once",
    ),
    Mutant(
        "every window of a text ends it",
        "data_modules/text/framing.py",
        "return cls(before, (), end)",
        "return cls(before, end, ())",
        "tests/data_modules/text/test_framing.py -k once",
    ),
    Mutant(
        "an end alone in a window is no target",
        "data_modules/text/framing.py",
        "moved = np.maximum(1 - left, 0)",
        "moved = np.maximum(0 - left, 0)",
        "tests/data_modules/text/test_framing.py",
    ),
    Mutant(
        "texts with ends are the cached texts without",
        "data_modules/storing/tokenising.py",
        "        digest.update(repr(frame).encode())\n",
        "        pass\n",
        "tests/data_modules/text/test_framing.py -k before",
    ),
    Mutant(
        "relations are learnt of masked text",
        "data_modules/objectives/objectives.py",
        "return settled(reads) or NoTargets()",
        "return NoTargets()",
        "tests/lit_distill/training/test_reading.py -k none_is_given",
    ),
    Mutant(
        "what a method reads is not asked for on the command line",
        "lit_distill/cli/settings.py",
        "    _choose_objective(config)\n",
        "",
        "tests/lit_distill/training/test_reading.py -k swapped",
    ),
    Mutant(
        "any objective is taken for what a method reads",
        "lit_distill/training/data_contract.py",
        "if found is None or not reads or found in reads:",
        "if True:",
        "tests/lit_distill/training/test_reading.py -k refuse",
    ),
    Mutant(
        "relations are measured on masked text",
        "lit_distill/measures/terms.py",
        "self.add(as_written(batch), ",
        "self.add(batch, ",
        "tests/lit_distill/methods/test_hidden_state_method.py -k own_losses",
    ),
    Mutant(
        "methods without a head have no numbers in the report",
        "lit_distill/measures/terms.py",
        "for name in self.method.students if mean}",
        "for name in self.method.students if mean and not self.method.hears}",
        "tests/lit_distill/training/test_reading.py -k swapped",
    ),
    Mutant(
        "whole sentences are masked in scripts without spaces",
        "data_modules/objectives/masking.py",
        "            begins |= texts.begins[candidates]\n",
        "            pass\n",
        "tests/data_modules/storing/test_word_breaks.py -k sentences",
    ),
    Mutant(
        "an emoji moves all word borders",
        "data_modules/storing/word_breaks.py",
        "if codes.max() > 0xFFFF:",
        "if False:",
        "tests/data_modules/storing/test_word_breaks.py -k where",
    ),
    Mutant(
        "nobody hears that words are not known",
        "data_modules/corpus.py",
        "            warn_of(self.report)\n",
        "            pass\n",
        "tests/data_modules/storing/test_word_breaks.py -k library",
    ),
    Mutant(
        "masked words and masked pieces share a cache",
        "data_modules/storing/tokenising.py",
        "        digest.update(breaks.stamp.encode())\n",
        "        pass\n",
        "tests/data_modules/storing/test_word_breaks.py -k library",
    ),
    Mutant(
        "sentences of pairs are masked whole",
        "data_modules/parallel.py",
        "Collator(texts, select, pad, words=asks)",
        "Collator(texts, select, pad)",
        "tests/data_modules/storing/test_word_breaks.py -k pairs",
    ),
    Mutant(
        "ROUGE takes a sentence without spaces for a word",
        "callbacks/written_text/text_scores.py",
        "for part in _parts(word))",
        "for part in [word])",
        "tests/callbacks/written_text/test_text_scores.py -k spaces",
    ),
    Mutant(
        "ROUGE takes marks off their characters",
        "callbacks/written_text/text_scores.py",
        "if parts and (mark or (joins and not unspaced)):",
        "if parts and (joins and not unspaced):",
        "tests/callbacks/written_text/test_text_scores.py -k side",
    ),
)
