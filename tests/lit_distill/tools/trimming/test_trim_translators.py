"""`trim-vocabulary` of translators: the codes of their languages stay, under new ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import translators
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from data_modules.text.framing import Frame
from data_modules.text.language_codes import LanguageCodes
from lit_distill.__main__ import main
from lit_distill.models import VocabularyMap, load_tokenizer


@pytest.mark.parametrize("kind", ["nllb", "mbart"])
def test_codes_stay_where_they_are_read_and_written(kind: str, tmp_path: Path) -> None:
    folder, small, texts = tmp_path / "model", tmp_path / "small", tmp_path / "en.txt"
    translators.save(kind, folder)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder)
    own = translators.tokenizer(kind)
    german = own.convert_tokens_to_ids(translators.codes(kind)["de"])
    model.generation_config.forced_bos_token_id = german
    if kind == "mbart":
        model.config.decoder_start_token_id = None
        model.generation_config.decoder_start_token_id = german
    model.save_pretrained(folder)
    lines = [f"{a}{b} {b}{a}{a}" for a in "abcdefghij" for b in "acegikmoqsuwy"]
    texts.write_text("\n".join(lines) + "\n", "utf-8")
    assert main(["trim-vocabulary", str(small), f"--model={folder}", f"--files.en=[{texts}]"]) == 0
    kept = VocabularyMap.read(small).kept
    new, found = load_tokenizer(str(small)), AutoModelForSeq2SeqLM.from_pretrained(small)
    assert len(kept) < len(own)
    assert kept[found.generation_config.forced_bos_token_id] == german
    before = LanguageCodes(translators.codes(kind), own)
    after = LanguageCodes(translators.codes(kind), new)
    for name in translators.codes(kind):
        frames = [
            codes.framed(Frame.around(each), codes.of(name))
            for codes, each in ((before, own), (after, new))
        ]
        for part in ("before", "after"):
            ids = getattr(frames[1], part)
            assert tuple(kept[token] for token in ids) == getattr(frames[0], part)
    plain = AutoTokenizer.from_pretrained(small)
    read: list[dict[str, Any]] = [each("ab cd", return_tensors="pt") for each in (own, plain)]
    assert [kept[token] for token in read[1]["input_ids"][0]] == read[0]["input_ids"][0].tolist()
    target = torch.tensor([[2, kept.index(german)]])
    with torch.no_grad():
        one = model(**read[0], decoder_input_ids=torch.tensor([[2, german]])).logits
        other = found(**read[1], decoder_input_ids=target).logits
    assert kept[2] == 2
    torch.testing.assert_close(other, one[..., list(kept)], rtol=0, atol=1e-5)
