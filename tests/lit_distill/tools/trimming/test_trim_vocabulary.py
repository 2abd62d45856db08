"""`trim-vocabulary`: the folder that it writes, by what plain Transformers make of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from cut_vocabularies import lines, tokenizer_of
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from lit_distill.__main__ import main
from lit_distill.errors import UserError
from lit_distill.files.output_folders import MARK
from lit_distill.models import VocabularyMap, trim_model, trim_tokenizer
from lit_distill.tools.trimming import trim_vocabulary as tool
from lit_distill.tools.trimming import verifying
from lit_distill.tools.trimming.selections import LineFrequency

MODELS = ("bert", "xlm-roberta", "modernbert", "gpt2", "qwen2", "t5", "marian", "XLMRobertaModel",
          "BertForSequenceClassification")  # fmt: skip


def opened(folder: Path) -> PreTrainedModel:
    """By the class that its config names."""
    (name,) = AutoConfig.from_pretrained(folder).architectures
    model, report = getattr(transformers, name).from_pretrained(folder, output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    loaded: PreTrainedModel = model.eval()
    return loaded


def outputs(model: PreTrainedModel, ids: list[int], start: int) -> dict[str, torch.Tensor]:
    """All that a model says of a text."""
    row = torch.tensor([ids[:18]])
    target = {"decoder_input_ids": torch.cat([torch.tensor([[start]]), row[:, :-1]], 1)}
    pairs = model.config.is_encoder_decoder
    with torch.no_grad():
        found = model(input_ids=row, output_hidden_states=True, **(target if pairs else {}))
    names = ("hidden_states", "encoder_hidden_states", "decoder_hidden_states")
    states = {name: torch.stack(found[name]) for name in names if name in found}
    return states | ({"logits": found.logits} if "logits" in found else {})


@pytest.mark.parametrize("name", MODELS)
def test_plain_transformers_open_a_smaller_model_that_says_the_same(
    name: str, saved: Callable[..., Path], options: list[str], tmp_path: Path
) -> None:
    folder, output = saved(name), tmp_path / "small"
    assert main(["trim-vocabulary", str(output), f"--model={folder}", *options]) == 0
    old, new = (AutoTokenizer.from_pretrained(place) for place in (folder, output))
    model, small = opened(folder), opened(output)
    kept = VocabularyMap.read(output).kept
    assert len(small.get_input_embeddings().weight) == len(kept) == len(new) < len(old)
    assert small.config.vocab_size == len(kept)
    assert small.config.pad_token_id == new.pad_token_id
    met = 0
    for text in [*lines("en", 300), *lines("hi", 300)][::30]:
        before, after = old(text)["input_ids"], new(text)["input_ids"]
        assert before == [kept[number] for number in after]  # all of these texts were counted
        one = outputs(model, before, old.pad_token_id)
        for key, value in outputs(small, after, new.pad_token_id).items():
            sliced = key == "logits" and not name.startswith("BertFor")
            expected = one[key][..., list(kept)] if sliced else one[key]
            torch.testing.assert_close(value, expected, rtol=0, atol=1e-6 if sliced else 0)
            met += 1
    assert met > 10
    if model.can_generate() and model.config.is_encoder_decoder:
        assert small.generation_config.bad_words_ids in (None, [[new.pad_token_id]])
        assert small.generation_config.decoder_start_token_id == new.pad_token_id


def test_the_record_tells_what_was_done(
    saved: Callable[..., Path],
    options: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "small"
    rule = ["--selection=SizeBudget", "--selection.pieces=150"]
    assert main(["trim-vocabulary", str(output), f"--model={saved('bert')}", *options, *rule]) == 0
    shown = capsys.readouterr().out
    assert "│ hi " in shown
    assert f"of {254} rows are kept: {output}" in shown
    record = json.loads((output / "trimming.json").read_text("utf-8"))
    assert record["selection"]["class_path"] == "SizeBudget"
    assert record["selection"]["init_args"]["pieces"] == 150
    kept = VocabularyMap.read(output)
    assert record["rows"] == {"before": 254, "after": kept.size}
    assert kept.size <= 150
    size, files = record["size"], sum(f.stat().st_size for f in output.glob("token*.json"))
    weights = 4 * size["after"]["parameters"]
    assert size["after"]["bytes"] == weights + files
    assert weights < (output / "model.safetensors").stat().st_size < weights + 20_000
    rows = size["before"]["rows"] - size["after"]["rows"]
    fewer = size["before"]["parameters"] - size["after"]["parameters"]
    assert fewer == rows * (16 + 1)  # tied: one table of width 16, and a bias
    assert size["before"]["without_embeddings"] == size["after"]["without_embeddings"]
    for language in ("en", "hi"):
        own, same = record["languages"][language], record["verified"][language]
        assert own["after"]["tokens"] >= own["before"]["tokens"]
        assert (own["lost_pieces"] > 0) == (own["lost_share"] > 0)
        assert 0 < same["read"] <= same["whole"] <= same["texts"] == own["texts"]
        assert same["logits"] <= 1e-5
    assert (output / "trimming.png").read_bytes().startswith(b"\x89PNG")
    written = {path.name for path in output.iterdir()}
    assert written == {MARK, *json.loads((output / MARK).read_text())["written"]}


def test_weights_keep_their_dtype_and_sentence_encoders_their_modules(
    saved: Callable[..., Path], options: list[str], tmp_path: Path
) -> None:
    folder = saved("BertModel", dtype=torch.bfloat16)
    (folder / "modules.json").write_text("[]")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text("{}")
    assert main(["trim-vocabulary", str(tmp_path / "s"), f"--model={folder}", *options]) == 0
    kept = list(VocabularyMap.read(tmp_path / "s").kept)
    model, small = opened(folder), opened(tmp_path / "s")
    assert small.dtype == model.dtype == torch.bfloat16
    tables = [one.get_input_embeddings().weight for one in (model, small)]
    assert torch.equal(tables[0][kept], tables[1])
    assert (tmp_path / "s/1_Pooling/config.json").is_file()
    assert (tmp_path / "s/modules.json").is_file()


def test_a_corpus_from_a_config_and_some_of_its_languages(
    saved: Callable[..., Path], texts: Path, tmp_path: Path
) -> None:
    (tmp_path / "data.yaml").write_text(
        "data: {class_path: MultilingualCorpus, init_args: {sources: [{files: '{language}.txt'}]}}"
    )
    corpus = [f"--config={tmp_path / 'data.yaml'}", f"--data.data_dir={texts}"]
    model = f"--model={saved('bert')}"
    for name, more in (("two", ["--languages=[en, hi]"]), ("all", [])):
        assert main(["trim-vocabulary", str(tmp_path / name), model, *corpus, *more]) == 0
    two, all_ = (VocabularyMap.read(tmp_path / name) for name in ("two", "all"))
    assert {*two.kept} < {*all_.kept}
    bangla = tokenizer_of("wordpiece").convert_tokens_to_ids("নদী")
    assert bangla in all_.kept
    assert bangla not in two.kept


def test_a_preview_trims_nothing(
    saved: Callable[..., Path],
    options: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sizes = "--preview=[160, 120, 140]"
    model, output = f"--model={saved('gpt2')}", tmp_path / "preview"
    assert main(["trim-vocabulary", str(output), model, *options, sizes]) == 2
    assert (
        "SizeBudget.pieces is 120, and special tokens and the alphabet" in capsys.readouterr().err
    )
    sizes = "--preview=[350, 300]"
    assert main(["trim-vocabulary", str(output), model, *options, sizes]) == 0
    assert {path.name for path in output.iterdir()} == {MARK, "preview.json", "preview.png"}
    found = json.loads((output / "preview.json").read_text("utf-8"))["budgets"]
    tokens = [own["languages"]["hi"]["tokens"] for own in found.values()]
    parameters = [own["size"]["parameters"] for own in found.values()]
    assert [own["size"]["rows"] for own in found.values()][1:] == [300, 350]
    assert tokens[1] >= tokens[2] >= tokens[0]
    assert tokens[1] > tokens[0]
    assert parameters[0] > parameters[2] > parameters[1]
    shown = capsys.readouterr().out
    assert "300" in shown
    assert "nothing was trimmed" in shown


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--languages=[en, xx]"], "no texts in xx: its languages are en, hi"),
        (["--languages=[en, en]"], "each once"),
        (["--files.zz=[EMPTY]"], "zz has no text to count"),
        (["--files.zz=[SHORT]"], "zz has no text held out"),
        (["--selection=SizeBudget", "--selection.pieces=4"], "alphabet alone take 5: raise it"),
        (["--selection=SizeBudget", "--selection.pieces=20"], "characters of 2 languages alone"),
        (["--selection=LineFrequency", "--selection.share=2"], "LineFrequency.share is 2"),
        (["--preview=[]"], "--preview needs sizes"),
        (["--tokenizer=OTHER"], "is not that of .*tokens have other ids"),
        (["--held_out=0"], "held_out is 0"),
    ],
)
def test_what_cannot_work_is_one_clear_line_and_nothing_is_written(
    more: list[str], said: str, saved: Callable[..., Path], options: list[str], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "empty.txt").write_text("ab\nabc\n")
    (tmp_path / "short.txt").write_text("one text that is long enough\n")
    tokenizer_of("unigram").save_pretrained(tmp_path / "other")
    places = {name.upper(): f"{tmp_path / name}.txt" for name in ("empty", "short")}
    given = list(more)
    for name, place in {**places, "OTHER": str(tmp_path / "other")}.items():
        given = [one.replace(name, place) for one in given]
    arguments = [str(tmp_path / "out"), f"--model={saved('bert')}", *options, *given]
    assert main(["trim-vocabulary", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("error:") == 1
    assert re.search(said, error), error
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_there_is_never_replaced(
    saved: Callable[..., Path],
    options: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["trim-vocabulary", str(tmp_path / "out"), f"--model={saved('bert')}", *options]
    assert main(command) == 0
    before = (tmp_path / "out/model.safetensors").stat().st_mtime_ns
    assert main(command) == 2
    assert "is there already, and nothing is overwritten" in capsys.readouterr().err
    assert (tmp_path / "out/model.safetensors").stat().st_mtime_ns == before


def test_a_tokenizer_that_is_not_the_models_is_refused(
    saved: Callable[..., Path],
    options: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["trim-vocabulary", str(tmp_path / "out"), *options]
    large = saved("bert", vocab_size=4000)
    assert main([*command, f"--model={large}"]) == 2
    assert "has 4,000 rows and the tokenizer 251 tokens" in capsys.readouterr().err
    small = saved("bert", vocab_size=100)
    assert main([*command, f"--model={small}"]) == 2
    assert "100 vocabulary rows and the tokenizer's largest id is 250" in capsys.readouterr().err
    stale = saved("gpt2", eos_token_id=445)
    assert main([*command, f"--model={stale}"]) == 2
    assert "names the id 445, which is no token of the tokenizer" in capsys.readouterr().err


@pytest.mark.parametrize("bug", ["states", "head", "tokenizer", "configs"])
def test_a_model_that_is_not_the_old_one_is_refused(
    bug: str, saved: Callable[..., Path], texts: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The verification sees what any step before it did wrong."""

    def wrong(model: PreTrainedModel, kept: tuple[int, ...]) -> None:
        trim_model(model, kept)
        with torch.no_grad():
            if bug == "states":
                model.get_input_embeddings().weight.copy_(
                    model.get_input_embeddings().weight.roll(1, 0)
                )
            if bug == "head":
                model.get_output_embeddings().bias.copy_(model.get_output_embeddings().bias.roll(1))
        if bug == "configs":
            model.config.eos_token_id = 40

    if bug == "tokenizer":
        monkeypatch.setattr(tool, "trim_tokenizer", _without_words)
    monkeypatch.setattr(tool, "trim_model", wrong)
    said = {"states": "other hidden states", "head": "head of the trimmed model is another",
            "tokenizer": "cuts a text in en otherwise", "configs": r"name the tokens"}  # fmt: skip
    with pytest.raises(UserError, match=said[bug]):
        tool.trim_vocabulary(
            str(tmp_path / "out"), str(saved("bert")), files={"en": [str(texts / "en.txt")]},
            selection=LineFrequency(),
        )  # fmt: skip
    assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def _without_words(
    old: PreTrainedTokenizerFast, kept: tuple[int, ...], rows: int
) -> PreTrainedTokenizerFast:
    """The trimmed tokenizer, with words that are written otherwise."""
    tokenizer = trim_tokenizer(old, kept, rows)
    parts = json.loads(tokenizer.backend_tokenizer.to_str())
    words = parts["model"]["vocab"]
    parts["model"]["vocab"] = {
        f"{word}~" if word.isalpha() and len(word) > 1 else word: number
        for word, number in words.items()
    }
    backend = Tokenizer.from_str(json.dumps(parts))
    return PreTrainedTokenizerFast(tokenizer_object=backend, **old.special_tokens_map)


def test_logits_are_told_apart_by_what_they_add_up() -> None:
    """Rounding grows with the summands: 3e-5 of 40 is none, and 3e-5 of 2 is another model."""

    def reading(size: float, logit: float) -> verifying.Reading:
        one = torch.ones(1, 1)
        return verifying.Reading(one, one, one, one * size, one * logit)

    found = verifying.agreement("en", 1, 1, [reading(40.0, 3.0)], [reading(40.0, 3.00003)])
    assert found.logits == pytest.approx(3e-5, rel=0.02)
    infinite = reading(1.0, -torch.inf)
    assert verifying.agreement("en", 1, 1, [infinite], [infinite]).logits == 0
    with pytest.raises(UserError, match=r"logits for a text in en: kept ones differ by 3.0e-05"):
        verifying.agreement("en", 1, 1, [reading(2.0, 3.0)], [reading(2.0, 3.00003)])
