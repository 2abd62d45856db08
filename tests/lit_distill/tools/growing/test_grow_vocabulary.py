"""`grow-vocabulary` from its command line to its folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from architectures import random_model
from cut_vocabularies import lines
from grown import BANGLA, KINDS, english
from tokenizers import Tokenizer, models
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

from data_modules.text.markers import engine
from lit_distill.__main__ import main
from lit_distill.errors import UserError
from lit_distill.models.vocabularies.growing.new_piece import NewPiece
from lit_distill.models.vocabularies.growing.record import FILE, VocabularyGrowth
from lit_distill.tools.growing import verifying
from lit_distill.tools.trimming.verifying import Reading

FAMILIES = {"WordPiece": "bert", "Unigram": "xlm-roberta", "BPE": "gpt2"}
PADS = 3


def make(folder: Path, kind: str, dtype: torch.dtype = torch.float32) -> str:
    """A model with its tokenizer, and texts beside it."""
    tokenizer = english(kind)
    named = {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.cls_token_id,
        "eos_token_id": tokenizer.sep_token_id,
    }
    model = random_model(FAMILIES[kind], vocab_size=len(tokenizer) + PADS, **named)
    model.to(dtype).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    texts = {
        "bn": BANGLA,
        "en": lines("en", 300),
        "short": ["ab cd"],
        "hi": ["नदी " * n for n in range(1, 60)],
    }
    for language, own in texts.items():
        (folder / f"{language}.txt").write_text("\n".join(own) + "\n", "utf-8")
    (folder / "data.yaml").write_text(
        "data:\n  class_path: MultilingualCorpus\n  init_args:\n    holdout: 5\n    sources:\n"
        f"      - {{languages: [bn, en], files: '{folder}/{{language}}.txt'}}\n",
        "utf-8",
    )
    return str(folder / "model")


def call(folder: Path, *more: str, pieces: int = 8) -> list[str]:
    return [
        *("grow-vocabulary", "--model", str(folder / "model"), "--config"),
        *(str(folder / "data.yaml"), "--languages", "[bn]", "--pieces", str(pieces)),
        *("--output", str(folder / "out"), *more),
    ]


def refused(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    """The line with which a command line is refused, behind the bar of a model that was opened."""
    capsys.readouterr()
    assert main(list(args)) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "Loading weights" not in line]
    (line,) = filter(None, lines)
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


@pytest.mark.parametrize("kind", KINDS)
def test_the_folder_is_a_model_that_cuts_bangla_better(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path, kind)
    assert not main(call(tmp_path))
    shown, out = capsys.readouterr().out, tmp_path / "out"
    assert f"8 pieces are new, behind {len(english(kind))}: {out}" in shown
    assert "bn (grown)" in shown
    told = json.loads((out / "growing.json").read_text("utf-8"))
    assert told["rows"] == {"before": len(english(kind)) + PADS, "after": len(english(kind)) + 8}
    assert told["learnt_from"].keys() == {"bn"}
    before, after = (told["languages"]["bn"][name] for name in ("before", "after"))
    assert after["tokens_per_word"] < before["tokens_per_word"]
    assert after["tokens_per_text"] < before["tokens_per_text"]
    assert told["languages"]["en"]["before"] == told["languages"]["en"]["after"]
    agreement = told["verified"]["en"]
    assert agreement["without"] == agreement["texts"] > 10
    assert told["verified"]["bn"]["read"] == agreement["read"] == 8
    assert agreement["logits"] < 1e-6

    auto = AutoModelForCausalLM if kind == "BPE" else AutoModelForMaskedLM
    old, new = (auto.from_pretrained(place) for place in (tmp_path / "model", out))
    tokenizers = [AutoTokenizer.from_pretrained(place) for place in (tmp_path / "model", out)]
    found = VocabularyGrowth.read(out)
    assert found.old_tokens == len(tokenizers[0])
    rows, own = (model.get_input_embeddings().weight for model in (old, new))
    for place, (text, parts) in enumerate(found.pieces):
        number = found.old_tokens + place
        assert tokenizers[1].convert_tokens_to_ids(text) == number
        torch.testing.assert_close(own[number], rows[list(parts)].mean(0), rtol=0, atol=1e-6)
    assert len(own) == found.old_tokens + 8
    text = lines("en", 5, seed=4)[0]
    inputs = [each(text, return_tensors="pt")["input_ids"] for each in tokenizers]
    assert torch.equal(*inputs)
    with torch.no_grad():
        states = [model(inputs[0], output_hidden_states=True).hidden_states for model in (old, new)]
    assert all(torch.equal(one, other) for one, other in zip(*states, strict=True))
    assert {path.name for path in out.iterdir()} >= {"growing.png", FILE, "tokenizer.json"}


def test_files_of_a_language_weights_keep_their_dtype_and_bodies_do(tmp_path: Path) -> None:
    make(tmp_path, "WordPiece", torch.bfloat16)
    body = AutoModel.from_pretrained(tmp_path / "model", dtype=torch.bfloat16)
    body.save_pretrained(tmp_path / "model")
    files = f'--files.bn=["{tmp_path}/bn.txt"]'
    args = [arg for arg in call(tmp_path) if "data.yaml" not in arg and arg != "--config"]
    assert not main([*args, files])
    new = AutoModel.from_pretrained(tmp_path / "out", dtype="auto")
    assert {part.dtype for part in new.parameters()} == {torch.bfloat16}
    old, own = (model.get_input_embeddings().weight for model in (body, new))
    found = VocabularyGrowth.read(tmp_path / "out")
    assert torch.equal(own[: found.old_tokens], old[: found.old_tokens])
    for place, (_, parts) in enumerate(found.pieces):
        expected = old[list(parts)].float().mean(0).bfloat16()
        torch.testing.assert_close(own[found.old_tokens + place], expected)


def test_fewer_pieces_than_asked_for_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path, "WordPiece")
    assert not main(call(tmp_path, pieces=5000))
    assert "5,000 pieces were asked for: the texts have no more" in capsys.readouterr().out


def test_what_cannot_work_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path, "WordPiece")
    assert "pieces is 0: use a whole number of at least 1" in refused(
        capsys, *call(tmp_path, pieces=0)
    )
    said = refused(capsys, *call(tmp_path, "--languages", "[bn, xx]"))
    assert said.startswith("The corpus has no texts in xx: its languages are bn, en")
    files = ["--config", str(tmp_path / "none.yaml")]
    (tmp_path / "none.yaml").write_text(
        (tmp_path / "data.yaml").read_text("utf-8").replace("[bn, en]", "[bn, short, hi]"), "utf-8"
    )
    said = refused(capsys, *call(tmp_path, *files, "--languages", "[bn, short]"))
    assert said.startswith("short has no text held out (one in 5 is held out, or")
    (tmp_path / "out").mkdir()
    assert "is there already, and nothing is overwritten" in refused(capsys, *call(tmp_path))
    (tmp_path / "out").rmdir()
    words = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    words.save(str(tmp_path / "model/tokenizer.json"))
    said = refused(capsys, *call(tmp_path))
    assert said.startswith("No pieces can be added to this tokenizer: it is of the kind WordLevel")
    assert not (tmp_path / "out").exists()


def test_a_language_with_nothing_to_gain(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its characters are unknown, so that no piece would be the mean of anything."""
    make(tmp_path, "WordPiece")
    config = tmp_path / "data.yaml"
    config.write_text(config.read_text("utf-8").replace("[bn, en]", "[hi]"), "utf-8")
    args = call(tmp_path, "--languages", "[hi]")
    assert refused(capsys, *args).startswith("Nothing is to gain in hi: no two pieces that")


def test_a_folder_is_read_only_as_it_was_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no vocabulary_growth\.json: give a folder"):
        VocabularyGrowth.read(tmp_path)
    good = VocabularyGrowth(9, 8, (("ab", (3, 4)),), "0" * 64, "1" * 64)
    good.write(tmp_path)
    assert VocabularyGrowth.read(tmp_path) == good
    path = tmp_path / FILE
    text = path.read_text("utf-8")
    for old, new, said in (
        ('"version": 1', '"version": 9', "not of version 1"),
        ("[3, 4]", "[3, 8]", r"'ab' is of \[3, 8\], and has to be of ids in \[0, 8\)"),
        ("[3, 4]", "[]", "'ab' is of"),
        ('"id": 8', '"id": 9', "its ids do not follow each other"),
        ("0000", "000g", "old_tokenizer is no sha256"),
        ('"old_rows": 9, ', "", "cannot be read"),
        ("{", "[", "cannot be read"),
    ):
        assert old in text
        path.write_text(text.replace(old, new, 1), "utf-8")
        with pytest.raises(UserError, match=said):
            VocabularyGrowth.read(tmp_path)


def reading(**changes: float) -> Reading:
    values = {"states": 1.0, "products": 2.0, "sizes": 20.0, "logits": 3.0, **changes}
    return Reading(torch.tensor([1]), *(torch.tensor([[value]]) for value in values.values()))


def test_models_that_differ_are_refused() -> None:
    found = verifying.agreement("bn", 5, 2, [reading()], [reading(logits=3.0 + 1e-5)])
    assert (found.texts, found.without, found.read) == (5, 2, 1)
    assert found.logits == pytest.approx(1e-5, rel=0.1)
    for change in ({"states": 1.0 + 1e-6}, {"products": 2.0 + 1e-6}, {"logits": 3.0 + 3e-5}):
        with pytest.raises(UserError, match="The grown model has other"):
            verifying.agreement("bn", 5, 2, [reading()], [reading(**change)])


def test_tokenizers_that_differ_are_refused() -> None:
    old = engine(english("BPE"))
    other = json.loads(old.to_str())
    other["model"]["merges"] = other["model"]["merges"][5:]
    with pytest.raises(UserError, match="cuts a text in en otherwise, though it has no new piece"):
        verifying.check_cuts("en", lines("en"), old, Tokenizer.from_str(json.dumps(other)), ())
    with pytest.raises(UserError, match="has the piece 'zz' and cuts 'ab' without it"):
        verifying.check_reachable(old, [NewPiece("zz", (1, 2), "ab")])
