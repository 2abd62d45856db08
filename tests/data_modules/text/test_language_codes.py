"""Language codes of NLLB's and mBART's tokenizers: texts are framed as these frame them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import translators
from lightning.pytorch import Trainer

from data_modules import NoTargets, ParallelCorpus, ParallelSource, PhrasebookTranslation
from data_modules.prompting.form import PromptText
from data_modules.prompting.rendering import PlainText, Renderer
from data_modules.text.framing import Frame
from data_modules.text.language_codes import LanguageCodes
from lit_distill.batch import PromptBatch
from lit_distill.errors import UserError
from lit_distill.models import load_tokenizer

Make = Callable[..., PhrasebookTranslation]


@pytest.fixture(params=translators.KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make(tmp_path: Path, kind: str) -> Make:
    translators.tokenizer(kind, "es").save_pretrained(tmp_path / "own")  # of neither side

    def build(**changes: Any) -> PhrasebookTranslation:
        settings: dict[str, Any] = {
            "tokenizer": str(tmp_path / "own"), "cache_dir": str(tmp_path / "cache"),
            "source": "en", "targets": ["de", "es"], "prompt": "{text}", "layout": "pairs",
            "sentences_per_language": 30, "validation_sentences": 5, "max_length": 150,
            "language_codes": translators.codes(kind),
            "decoder_start": "{code}" if kind == "mbart" else "</s>",
        }  # fmt: skip
        corpus = PhrasebookTranslation(**{**settings, **changes})
        corpus.trainer = Trainer(accelerator="cpu", logger=False, max_steps=1)
        corpus.prepare_data()
        corpus.setup("fit")
        return corpus

    return build


def whole(corpus: PhrasebookTranslation) -> PromptBatch:
    numbers = np.arange(len(corpus._stores["validation"].lengths))
    return corpus._collator("validation")(numbers, np.zeros_like(numbers))


def test_a_batch_is_what_transformers_makes_of_its_texts(make: Make, kind: str) -> None:
    """The source in the place of its code; the labels one token behind, from the code on."""
    corpus = make()
    batch = whole(corpus)
    width = batch["decoder_input_ids"].shape[1]
    assert {corpus.languages[n] for n in batch["language"].tolist()} == {"en>de", "en>es"}
    texts = {
        (language.language, row.prompt): row.response
        for language in corpus.texts()
        for reader in language.validation
        for row in reader.rows()
    }
    for row, number in enumerate(batch["language"].tolist()):
        name = corpus.languages[number]
        theirs = load_tokenizer(corpus.tokenizer.name_or_path)
        theirs.src_lang = translators.codes(kind)["en"]
        theirs.tgt_lang = translators.codes(kind)[name.partition(">")[2]]
        read = batch["input_ids"][row][batch["attention_mask"][row] == 1]
        prompt = theirs.decode(read, skip_special_tokens=True)
        found = theirs(prompt, text_target=texts[name, prompt])
        assert read.tolist() == found["input_ids"]
        code, end = theirs.convert_tokens_to_ids(theirs.tgt_lang), theirs.eos_token_id
        text = [token for token in found["labels"] if token not in (code, end)]
        begun = [code] if kind == "mbart" else [end, code]
        target = batch["decoder_input_ids"][row][batch["decoder_attention_mask"][row] == 1]
        assert target.tolist() == [*begun, *text]
        assert batch["target_starts"][row].tolist() == begun
        own = batch["rows"] // width == row
        assert batch["targets"][own].tolist() == [*text, end]
        places = (batch["rows"][own] - row * width).tolist()
        assert places == list(range(len(begun) - 1, len(target)))  # none predicts the code
    assert (
        batch["tokens"].tolist()
        == batch["decoder_attention_mask"].flatten().nonzero().squeeze(1).tolist()
    )
    assert torch.equal(batch["prompt_ids"], batch["input_ids"])


@pytest.mark.parametrize("kind", ["nllb", "mbart"])
def test_without_codes_every_text_has_the_one_of_the_tokenizer_and_it_says_so(
    make: Make, kind: str
) -> None:
    with pytest.warns(UserWarning, match=r"puts (spa_Latn|es_XX) around texts.*en>de, en>es"):
        batch = whole(make(language_codes=None, decoder_start="</s>"))
    place = 0 if kind == "nllb" else -1
    own = load_tokenizer(make().tokenizer.name_or_path).convert_tokens_to_ids(
        translators.codes(kind)["es"]
    )
    for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True):
        assert ids[mask == 1][place] == own
    assert "target_starts" not in batch


@pytest.mark.parametrize("kind", ["nllb"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"language_codes": {"en": "eng_Latn"}}, r"no code for 'de': add one"),
        ({"language_codes": {"en": "en", "de": "deu_Latn"}}, r"has en \(en\), which.*eng_Latn"),
        ({"layout": "decoder"}, r"language_codes are for translators"),
        ({"language_codes": None, "decoder_start": "{code}"}, r"is \{code\}, and there are no"),
    ],
)
def test_what_cannot_work_is_said_before_a_text_is_cut(
    make: Make, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        make(**changes)
    assert not list((tmp_path / "cache").glob("*"))


def test_prompts_of_one_language_and_frames_of_two_codes_are_refused() -> None:
    own = translators.tokenizer("nllb")
    codes = LanguageCodes(translators.NLLB, own)
    with pytest.raises(UserError, match=r"named by two languages, such as en>hi.*of 'de'"):
        Renderer(own, PlainText(), pairs=True, codes=codes)([PromptText("a", "b")], "de")
    own._tokenizer.post_processor = translators.tokenizer("legacy nllb")._tokenizer.post_processor
    assert codes.framed(Frame.around(own), codes.of("de")).after == (2, codes.of("de"))


def test_a_tokenizer_without_a_code_of_its_own_gets_it_before_the_text() -> None:
    own = translators.tokenizer("nllb")
    codes = LanguageCodes(translators.NLLB, own)
    codes._own = None
    frame = Frame((0,), (2,))
    assert codes.framed(frame, 77) == Frame((0, 77), (2,))


@pytest.mark.parametrize("kind", ["nllb", "mbart"])
def test_views_of_pairs_have_the_codes_of_their_languages(tmp_path: Path, kind: str) -> None:
    lines = [f"{a} {b}" for a in "abcdefgh" for b in "ijklmnop"]
    for language in ("en", "de"):
        text = "\n".join(f"{language} {line}" for line in lines)
        (tmp_path / f"p.{language}.txt").write_text(text + "\n", "utf-8")
    translators.tokenizer(kind, "es").save_pretrained(tmp_path / "own")
    given: dict[str, Any] = {
        "tokenizer": str(tmp_path / "own"), "data_dir": str(tmp_path), "holdout": 5,
        "max_length": 64, "batch_tokens": 512, "objective": NoTargets(),
    }  # fmt: skip
    sources = [ParallelSource("p.{language}.txt")]

    def corpus(name: str, **more: Any) -> ParallelCorpus:
        made = ParallelCorpus(sources, cache_dir=str(tmp_path / name), **given, **more)
        made.trainer = Trainer(accelerator="cpu", logger=False, max_steps=1)
        made.prepare_data()
        made.setup("fit")
        return made

    made = corpus("coded", language_codes=translators.codes(kind))
    batch = made.collator()(np.arange(12), np.zeros(12, dtype=np.int64))
    for view in ("src_", "tgt_"):
        for row, number in enumerate(batch[f"{view}language"].tolist()):
            theirs = load_tokenizer(str(tmp_path / "own"))
            theirs.src_lang = translators.codes(kind)[made.text_languages[number]]
            read = batch[f"{view}input_ids"][row][batch[f"{view}attention_mask"][row] == 1]
            text = theirs.decode(read, skip_special_tokens=True)
            assert text.startswith(made.text_languages[number])
            assert read.tolist() == theirs(text)["input_ids"]
    with pytest.warns(UserWarning, match="around texts, and here also around those of de, en"):
        plain = corpus("coded")
    assert plain.place != made.place  # another store in the same cache
    with pytest.raises(UserError, match="no code for 'de'"):
        corpus("other", language_codes={"en": translators.codes(kind)["en"]})
    with pytest.raises(UserError, match="src_language_codes are those of a src_tokenizer"):
        corpus("other", src_language_codes=translators.codes(kind))
