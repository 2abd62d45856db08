"""Pronoun bias that a model has by construction is found again; the shipped prompts are whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from asked import asked_of, saved

from lit_distill.errors import UserError
from lit_distill.measures.probing import Asked, MaskedPronouns
from lit_distill.measures.probing.pronouns import GROUPS, PROMPTS, summary

BOOK = {
    "he": "He",
    "she": "She",
    "work": ["[MASK] works.", "[MASK] sings and works."],
    "verbs": {"prompt": "{pronoun} [MASK].", "words": ["works", "sings"]},
    "adverbs": {"prompt": "{pronoun} sings [MASK].", "words": ["softly", "loudly", "works"]},
}
WORDS = ["He", "She", "works", "sings", "softly", "loudly", "and"]


def probe(folder: Path, **book: Any) -> MaskedPronouns:
    path = folder / "prompts.yaml"
    path.write_text(yaml.safe_dump({"en": BOOK | book}))
    return MaskedPronouns(prompts=str(path))


def biased(asked: Asked, k: float) -> Asked:
    """Logits that are the head's bias alone, by which He is e^k times as likely as She."""
    head = asked.model.model.cls.predictions
    with torch.no_grad():
        head.transform.LayerNorm.weight.zero_()
        head.transform.LayerNorm.bias.zero_()
        bias = asked.model.anatomy.lm_head(asked.model.model).bias
        he, she = (asked.tokenizer.convert_tokens_to_ids(word) for word in ("He", "She"))
        bias[he] = bias[she] + k
    return asked


@pytest.mark.parametrize("k", [-1.5, 0.0, 2.0])
def test_the_bias_of_the_head_is_recovered(k: float, tmp_path: Path) -> None:
    found = probe(tmp_path).of(biased(asked_of(WORDS), k))
    assert found["en/work/log_ratio"] == found["work/log_ratio"] == pytest.approx(k, abs=1e-5)
    assert found["work/absolute"] == pytest.approx(abs(k), abs=1e-5)
    assert found["work/leaning_he"] == {-1.5: 0.0, 0.0: 0.5, 2.0: 1.0}[k]
    assert found["verbs/log_ratio"] == pytest.approx(0.0, abs=1e-5)  # words do not see the pronoun


@pytest.mark.parametrize("causal", [False, True])
def test_swapped_pronouns_turn_every_sign(causal: bool, tmp_path: Path) -> None:
    asked = asked_of(WORDS, causal)
    found, swapped = probe(tmp_path).of(asked), probe(tmp_path, he="She", she="He").of(asked)
    for group in ("work", "verbs", "adverbs"):
        assert abs(found[f"{group}/log_ratio"]) > 0.01
        assert swapped[f"{group}/log_ratio"] == pytest.approx(-found[f"{group}/log_ratio"])
        assert swapped[f"{group}/leaning_he"] == pytest.approx(1 - found[f"{group}/leaning_he"])


def test_the_given_pronoun_is_what_words_see(tmp_path: Path) -> None:
    """log p(word | he) - log p(word | she), by hand for one word."""
    asked = asked_of(WORDS)
    only = {"prompt": "{pronoun} [MASK].", "words": ["sings"]}
    found = probe(tmp_path, verbs=only).of(asked)["verbs/log_ratio"]
    values = []
    for pronoun in ("He", "She"):
        ids = asked.tokenizer(f"{pronoun} [MASK].", return_tensors="pt")["input_ids"]
        with torch.no_grad():
            logits = asked.model.model(input_ids=ids).logits[0, 2]
        values.append(logits.log_softmax(-1)[asked.tokenizer.convert_tokens_to_ids("sings")].item())
    assert found == pytest.approx(values[0] - values[1], abs=1e-5)


def test_a_summary_is_of_all_log_ratios() -> None:
    found = summary(np.array([1.0, -2.0, 0.0, 3.0]))
    assert found == {"log_ratio": 0.5, "absolute": 1.5, "leaning_he": 0.625}


def test_models_are_asked_by_folder(tmp_path: Path) -> None:
    folders = {
        name: saved(asked_of(WORDS, seed=seed), tmp_path / name)
        for seed, name in enumerate(("teacher", "student"))
    }
    found = probe(tmp_path).measure(folders)
    assert found["teacher"] == pytest.approx(probe(tmp_path).of(asked_of(WORDS, seed=0)), abs=1e-5)
    assert found["teacher"] != found["student"]


def test_the_shipped_prompts_are_whole() -> None:
    book = yaml.safe_load(PROMPTS.read_text("utf-8"))
    assert {*book} == {"en", "de", "fr", "es", "it", "pt", "ru", "hi"}
    for language, groups in MaskedPronouns().sets().items():
        assert len(groups["work"]) >= 10
        for group in GROUPS:
            words = [word for (_, word), _ in groups.get(group, ())]
            assert len(words) == len({*words})
            assert not words or len(words) >= 5, (language, group)
        texts = [
            blank.filled(word)
            for pairs in groups.values()
            for pair in pairs
            for blank, word in pair
        ]
        assert not any("{" in text or "[" in text for text in texts)
        assert len(texts) == len({*texts})
    assert list(MaskedPronouns(languages=["hi"]).sets()) == ["hi"]


@pytest.mark.parametrize(
    ("book", "message"),
    [
        ({"verbs": {"prompt": "He [MASK].", "words": ["x"]}}, r"needs \{pronoun\} and \[MASK\]"),
        ({"verbs": {"prompt": "{pronoun} [MASK]."}}, "en.verbs: give `prompt` and `words`"),
        ({"work": []}, "en.work: give a list"),
        ({"occupations": ["[MASK] works."]}, "a language has `he`, `she`"),
    ],
)
def test_other_prompts_are_refused(book: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        probe(tmp_path, **book)


def test_unknown_files_and_languages_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        MaskedPronouns(prompts=str(tmp_path / "none.yaml"))
    with pytest.raises(UserError, match=r"has no bn; it has en, de"):
        MaskedPronouns(languages=["bn", "hi"])
