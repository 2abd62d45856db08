"""Tokenizers of all three kinds: complete folders, the sampler's proportions."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from data_modules import MultilingualCorpus, Proportional, Source, Temperature
from lit_distill.__main__ import main
from lit_distill.errors import UserError
from lit_distill.tools.corpora.train_tokenizer import _all, _read, _repeats, train_tokenizer
from lit_distill.tools.corpora.vocabularies import Kind


def corpus(folder: Path) -> MultilingualCorpus:
    return MultilingualCorpus([Source(files="{language}.txt")], str(folder), holdout=1000)


@pytest.mark.parametrize(
    ("kind", "first", "mask"),
    [("wordpiece", "[CLS]", "[MASK]"), ("unigram", "<s>", "<mask>"), ("byte-bpe", "<s>", "<mask>")],
)
def test_a_folder_that_any_tokenizer_loader_opens(
    text_folder: Path, tmp_path: Path, kind: Kind, first: str, mask: str
) -> None:
    size = 300 if kind == "byte-bpe" else 90
    for name in ("one", "two"):
        train_tokenizer(str(tmp_path / name), corpus(text_folder), kind, vocab_size=size)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "one")
    assert len(tokenizer) <= size
    assert tokenizer.mask_token == mask
    assert len({tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.mask_token_id}) == 3
    ids = tokenizer("the cats sleep")["input_ids"]
    assert ids[0] == tokenizer.convert_tokens_to_ids(first) == tokenizer.cls_token_id
    assert (ids[-1] == tokenizer.sep_token_id) == (kind != "byte-bpe")
    assert tokenizer.decode(ids, skip_special_tokens=True).strip() == "the cats sleep"
    if kind == "byte-bpe":
        one, two = ((tmp_path / name / "tokenizer.json").read_bytes() for name in ("one", "two"))
        assert one == two


def test_accents_stay_and_case_is_folded_on_request(tmp_path: Path) -> None:
    (tmp_path / "es.txt").write_text(
        "".join(f"Mañana Été नमस्ते দেশ {n}\n" for n in range(20)), encoding="utf-8"
    )
    kept = train_tokenizer(str(tmp_path / "a"), corpus(tmp_path), vocab_size=200)
    assert kept.tokenize("Mañana नमस्ते") == ["Mañana", "नमस्ते"]
    folded = train_tokenizer(str(tmp_path / "b"), corpus(tmp_path), vocab_size=200, lowercase=True)
    assert folded.tokenize("MAÑANA") == ["mañana"]


def test_languages_are_read_in_the_samplers_proportions(tmp_path: Path) -> None:
    (tmp_path / "aa.txt").write_text("".join("x" * 8 + f"{n}\n" for n in range(2)))
    (tmp_path / "bb.txt").write_text("".join("z" * 7 + f"{n:02}\n" for n in range(32)))
    data = _read(corpus(tmp_path))
    assert _repeats(data, Proportional()) == [1.0, 1.0]
    often = _repeats(data, Temperature(2.0))  # sqrt(32 / 2) = 4
    assert often == pytest.approx([4.0, 1.0])
    assert sum(text[0] == "x" for text in _all(data, often)) == 8


def test_validation_text_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "xx.txt").write_text("aaaa\nbbbb\n")
    (tmp_path / "dev.txt").write_text("bbbb\n")
    source = Source(language="xx", files="xx.txt", validation="dev.txt")
    data = MultilingualCorpus([source], str(tmp_path))
    assert list(_all(_read(data), [1.0])) == ["aaaa"]


def test_no_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "xx.txt").write_text("")
    with pytest.raises(UserError, match="No training text for xx"):
        train_tokenizer(str(tmp_path / "t"), corpus(tmp_path))


def test_files_by_language_instead_of_a_corpus(
    text_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [f"--files.{tag}=[{text_folder / tag}.txt]" for tag in ("de", "en")]
    assert main(["train-tokenizer", str(tmp_path / "t"), *given, "--vocab_size=5000"]) == 0
    shown = capsys.readouterr().out
    size = len(AutoTokenizer.from_pretrained(tmp_path / "t"))
    assert f"wordpiece: {size:,} tokens of the 5,000 asked for, in {tmp_path / 't'}" in shown
    assert "│ de " in shown
    assert main(["train-tokenizer", str(tmp_path / "t")]) == 2
    assert "either a corpus" in capsys.readouterr().err


def test_a_corpus_from_a_config_file(text_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text(
        "data: {class_path: MultilingualCorpus, init_args: {sources: [{files: '{language}.txt'}]}}"
    )
    options = [f"--config={tmp_path / 'data.yaml'}", f"--data.data_dir={text_folder}"]
    assert main(["train-tokenizer", str(tmp_path / "t"), *options, "--vocab_size=80"]) == 0
    assert len(AutoTokenizer.from_pretrained(tmp_path / "t")) == 80


@pytest.mark.rotated(5)
@pytest.mark.parametrize("kind", ["wordpiece", "unigram"])
def test_the_same_in_every_process(text_folder: Path, tmp_path: Path, kind: Kind) -> None:
    """Each process walks through the trainers' hash tables in another order."""
    code = (
        "import sys; from lit_distill.tools.corpora.vocabularies import trained;"
        "texts = [line.split() for line in open(sys.argv[1])];"
        # every word once or twice: most pairs are equally frequent
        "words = sorted({word + other[:k] for line in texts for word in line"
        " for other in line for k in (2, 3)});"
        "print(trained(sys.argv[2], lambda: iter(words), 300, False, 1, None).to_str())"
    )
    command = [sys.executable, "-c", code, str(text_folder / "de.txt"), kind]
    first, second = (
        subprocess.run(command, capture_output=True, check=True).stdout for _ in range(2)
    )
    assert first == second
    assert len(json.loads(first)["model"]["vocab"]) > 200


def test_templates_of_bert_and_roberta(text_folder: Path, tmp_path: Path) -> None:
    bert = train_tokenizer(str(tmp_path / "b"), corpus(text_folder), vocab_size=90)
    two = bert("the", "cats")
    assert [two["token_type_ids"][0], two["token_type_ids"][-1]] == [0, 1]
    roberta = train_tokenizer(str(tmp_path / "r"), corpus(text_folder), "unigram", vocab_size=90)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    assert roberta.convert_ids_to_tokens(range(5)) == special
    ids = roberta("the", "cats")["input_ids"]
    assert ids.count(roberta.sep_token_id) == 3
    assert "token_type_ids" not in roberta("the")
    assert (roberta.bos_token, roberta.eos_token) == ("<s>", "</s>")


def test_a_decoder_goes_on_from_a_prompt(text_folder: Path, tmp_path: Path) -> None:
    """Plain `generate` of a model that says its last token again: it ends where the prompt does."""
    lengths = []
    for add_eos in (None, True):
        made = train_tokenizer(
            str(tmp_path / f"{add_eos}"), corpus(text_folder), "byte-bpe", 300, add_eos=add_eos
        )
        size = len(made)
        config = GPT2Config(vocab_size=size, n_embd=size, n_layer=0, n_head=1, n_positions=32,
                            bos_token_id=0, eos_token_id=made.eos_token_id)  # fmt: skip
        model = GPT2LMHeadModel(config).eval()
        with torch.no_grad():
            model.transformer.wte.weight.copy_(torch.eye(size))
            model.transformer.wpe.weight.zero_()
        prompt = made("the cats", return_tensors="pt", return_token_type_ids=False)
        written = model.generate(**prompt, max_new_tokens=7, do_sample=False, pad_token_id=1)
        lengths.append(written.shape[1] - prompt["input_ids"].shape[1])
    assert lengths == [7, 1]
    assert made("the", "cats")["input_ids"].count(made.sep_token_id) == 3


def test_vowel_signs_stay_in_their_word(tmp_path: Path) -> None:
    lines = [f"हिन्दी किताब की दुकान {n}\nবাংলা বইয়ের দোকান {n}\n" for n in range(40)]
    (tmp_path / "hi.txt").write_text("".join(lines), encoding="utf-8")
    made = train_tokenizer(
        str(tmp_path / "t"), corpus(tmp_path), "byte-bpe", vocab_size=600, min_frequency=2
    )
    assert len(made.tokenize("हिन्दी किताब की दुकान")) == 4


def test_characters_beyond_the_alphabet_are_unknown(tmp_path: Path) -> None:
    lines = ["abc cba abc" + " abc" * n for n in range(50)] + ["ж"]
    (tmp_path / "xx.txt").write_text("\n".join(lines), encoding="utf-8")
    kept = train_tokenizer(str(tmp_path / "a"), corpus(tmp_path), vocab_size=100)
    cut = train_tokenizer(str(tmp_path / "b"), corpus(tmp_path), vocab_size=100, alphabet=3)
    assert kept.tokenize("ж") == ["ж"]
    assert cut.tokenize("ж abc") == ["[UNK]", "abc"]


def test_a_vocabulary_that_cannot_hold_the_characters_is_refused(
    text_folder: Path, tmp_path: Path
) -> None:
    for kind in ("wordpiece", "unigram", "byte-bpe"):
        with pytest.raises(UserError, match="vocab_size 12 "):
            train_tokenizer(str(tmp_path / "t"), corpus(text_folder), kind, vocab_size=12)
    assert not (tmp_path / "t").exists()


def test_large_corpora_are_sampled_evenly(tmp_path: Path) -> None:
    (tmp_path / "xx.txt").write_text("".join(f"{n:04}\n" for n in range(1000)))
    languages = _read(corpus(tmp_path))
    total = languages[0].size
    (rate,) = _repeats(languages, Proportional(), most=total // 4)
    assert rate == pytest.approx(0.25, abs=1e-3)
    numbers = [int(text) for text in _all(languages, [rate])]
    assert sum(numbers) / len(numbers) == pytest.approx(500, rel=0.02)
