"""Zero-shot labels against one forward for each text, and what cannot be asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asked import asked_of, classifier_of, ids_of, log_p, saved
from lightning.pytorch import LightningDataModule

from data_modules import LabelledCorpus, LabelledSource
from data_modules.text.deduplication import marks_of
from lit_distill.errors import UserError
from lit_distill.tools.evaluating.cells.mode import Question
from lit_distill.tools.evaluating.cells.predictions import Kind, Predictions
from lit_distill.tools.evaluating.modes import Cloze

WORDS = ["she", "sings", "works", "and", "good", "bad", "fine", "It", "is", "Es", "ist", "gut",
         "un", "##kind", "MASK", "[", "]", "{", "}"]  # fmt: skip
ROWS = [
    ("en", "she sings", "yes"),
    ("en", "she works and works and [MASK] {text}", "no"),
    ("de", "works", "yes"),
]
YES_NO = {"yes": ["good", "fine"], "no": "bad"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return saved(asked_of(WORDS), tmp_path_factory.mktemp("cloze"))


def corpus(folder: Path, rows: Any = ROWS, **options: Any) -> LabelledCorpus:
    for language in {row[0] for row in rows}:
        own = [row for row in rows if row[0] == language]
        lines = [dict(zip(("text", "label", "second"), row[1:], strict=False)) for row in own]
        path = folder / f"test.{language}.jsonl"
        path.write_text("\n".join(map(json.dumps, lines)))
        (folder / f"train.{language}.jsonl").write_text('{"text": "and", "label": "yes"}\n')
    source = LabelledSource(files="train.{language}.jsonl", test="test.{language}.jsonl", **options)
    return LabelledCorpus([source], data_dir=str(folder), cache_dir=str(folder / "cache"))


def asked_about(mode: Cloze, model: str, data: LightningDataModule, folder: Path) -> Predictions:
    return mode.predict(Question(model, data, 0, folder))


def test_a_label_has_the_mean_probability_of_its_words(model: str, tmp_path: Path) -> None:
    found = asked_about(Cloze(YES_NO), model, corpus(tmp_path), tmp_path)
    assert (found.kind, found.labels, found.languages) == (
        Kind.CLASSES,
        ["yes", "no"],
        ["de", "en"],
    )
    assert found.language.tolist() == [0, 1, 1]
    assert found.targets.tolist() == [0, 0, 1]
    texts = ["works", "she sings", ROWS[1][1]]
    assert found.examples.tolist() == marks_of([text.encode() for text in texts]).tolist()
    asked = asked_of(WORDS)
    pieces = (
        ["works"],
        ["she", "sings"],
        ["she", "works", "and", "works", "and", "[", "MASK", "]", "{", "[UNK]", "}"],
    )
    for scores, own in zip(found.scores, pieces, strict=True):
        ids = ids_of(asked, "[CLS]", *own, "It", "is", "[MASK]", ".", "[SEP]")
        good, fine, bad = (
            np.exp(log_p(asked, ids, len(ids) - 3, target))
            for target in ids_of(asked, "good", "fine", "bad")
        )
        yes = (good + fine) / 2
        assert np.exp(scores) == pytest.approx([yes / (yes + bad), bad / (yes + bad)], abs=1e-5)


def test_languages_have_templates_and_words_of_their_own(model: str, tmp_path: Path) -> None:
    template = {"en": "{text} It is [MASK].", "de": "Es ist [MASK]. {text}"}
    words = {"yes": {"en": "good", "de": "gut"}, "no": "bad"}
    found = asked_about(Cloze(words, template), model, corpus(tmp_path), tmp_path)
    asked = asked_of(WORDS)
    ids = ids_of(asked, "[CLS]", "Es", "ist", "[MASK]", ".", "works", "[SEP]")
    gut, bad = (log_p(asked, ids, 3, target) for target in ids_of(asked, "gut", "bad"))
    assert found.scores[0, 0] - found.scores[0, 1] == pytest.approx(gut - bad, abs=1e-4)
    with pytest.raises(UserError, match=r"template has nothing for de; it has en"):
        asked_about(Cloze(words, {"en": template["en"]}), model, corpus(tmp_path), tmp_path)


def test_long_texts_are_cut_and_the_template_is_not(model: str, tmp_path: Path) -> None:
    rows = [("en", "she " + "works and " * 30, "yes"), ("en", "she works and works", "no")]
    data = corpus(tmp_path, rows)
    found = asked_about(Cloze(YES_NO, max_length=10), model, data, tmp_path)
    assert found.scores[0] == pytest.approx(found.scores[1], abs=1e-5)  # 4 tokens of text fit
    with pytest.raises(UserError, match=r"alone has 4 tokens, and 3 fit"):
        asked_about(Cloze(YES_NO, max_length=5), model, data, tmp_path)


def test_the_longer_text_of_a_pair_is_cut(model: str, tmp_path: Path) -> None:
    template = "{second} is [MASK]. {text}"
    rows = [("en", "she sings", "yes", "she works " * 20), ("en", "she sings", "no", "she works")]
    data = corpus(tmp_path, rows, second="second")
    found = asked_about(Cloze(YES_NO, template, max_length=9), model, data, tmp_path)
    assert found.scores[0] == pytest.approx(found.scores[1], abs=1e-5)


def test_a_decoder_is_asked_for_what_follows(tmp_path: Path) -> None:
    asked = asked_of(WORDS, causal=True)
    folder = saved(asked, tmp_path / "gpt2")
    words = {"yes": "unkind", "no": "bad"}
    found = asked_about(Cloze(words), folder, corpus(tmp_path), tmp_path)

    def of(*pieces: str) -> float:
        ids = ids_of(asked, "[CLS]", "works", "It", "is", *pieces, ".")
        return sum(log_p(asked, ids, n - 1, ids[n]) for n in range(4, len(ids)))

    difference = of("un", "##kind") - of("bad")
    assert found.scores[0, 0] - found.scores[0, 1] == pytest.approx(difference, abs=1e-4)


def test_what_cannot_be_asked_is_said_in_one_line(model: str, tmp_path: Path) -> None:
    data = corpus(tmp_path)
    for mode, message in (
        (Cloze({"yes": "good", "maybe": "fine"}), "has the labels no, and .* for yes, maybe"),
        (Cloze({"yes": "unkind", "no": "bad"}), r"'unkind' in 2 pieces \(un, ##kind\)"),
        (Cloze({"yes": [], "no": "bad"}), "words.yes has no word"),
        (Cloze(YES_NO, "{second} {text} [MASK]"), r"a \{second\}, and the data has single texts"),
    ):
        with pytest.raises(UserError, match=message):
            asked_about(mode, model, data, tmp_path)
    multiplied = Cloze({"yes": "unkind", "no": "bad"}, pieces="multiply")
    assert len(asked_about(multiplied, model, data, tmp_path)) == 3
    labels = saved(classifier_of(WORDS, ["yes", "no"]), tmp_path / "classifier")
    with pytest.raises(UserError, match="is a BertForSequenceClassification"):
        asked_about(Cloze(YES_NO), labels, data, tmp_path)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("It is [MASK].", r"needs \{text\}"),
        ("{text} is {label}: [MASK]", "nothing else in braces"),
        ("{text is [MASK]", "cannot be read"),
        ("{text} it is", "has 0 places"),
    ],
)
def test_templates_are_checked_before_anything_is_opened(template: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Cloze(YES_NO, template)
    with pytest.raises(UserError, match="two labels or more"):
        Cloze({"yes": "good"})
