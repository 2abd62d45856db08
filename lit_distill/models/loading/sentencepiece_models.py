"""Tokenizers whose folder holds a SentencePiece model and no tokenizer.json.

Transformers convert most of them by themselves where `sentencepiece` and `protobuf` are installed,
and ask for another package where they are not. Marian's they do not convert.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from lit_distill.errors import UserError

_NEVER = -1e4
"""The score of pieces that the source's model lacks: no text is cut into them."""


def check_installed(name: str, error: Exception) -> None:
    """Says what to install where reading a SentencePiece model failed for want of it.

    Args:
        name: of the tokenizer.
        error: with which reading failed.

    Raises:
        UserError: it asks for a package to read SentencePiece with, and one is missing.
    """
    missing = [
        package
        for package, module in (("sentencepiece", "sentencepiece"), ("protobuf", "google.protobuf"))
        if not _is_there(module)
    ]
    asks = any(word in str(error).lower() for word in ("sentencepiece", "tiktoken", "protobuf"))
    folder = Path(name).expanduser()
    held = [path for kind in ("*.model", "*.spm") for path in folder.glob(kind)]
    if missing and asks and (held or not folder.is_dir()):
        raise UserError(
            f"The tokenizer of {name} is a SentencePiece model without a tokenizer.json, and "
            f"{' and '.join(missing)} to read it with {'is' if len(missing) == 1 else 'are'} not "
            "installed: pip install 'lit-distill[sentencepiece]'."
        ) from error


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it would be in
        return False


def is_marian(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether it is a `MarianTokenizer`, which has no fast form in Transformers."""
    return type(tokenizer).__name__ == "MarianTokenizer"


def fast_marian(tokenizer: Any, name: str) -> PreTrainedTokenizerFast:
    """The fast form of a `MarianTokenizer` that cuts sources and targets by one model.

    Args:
        tokenizer: as Transformers open it; pieces get their ids from its vocab.json.
        name: for the message.

    Raises:
        UserError: sources and targets are cut by different models, or not by a unigram model.
    """
    source, target = (Path(file).read_bytes() for file in tokenizer.spm_files)
    if source != target or tokenizer.separate_vocabs:
        raise UserError(
            f"{name} cuts sources and targets by two SentencePiece models (source.spm, "
            "target.spm), and a run has one tokenizer for both: only Marian models with one for "
            "both can take part. Write translations with it by Transformers' own `generate`, and "
            "train a T5, mT5 or BART on them (SequenceKD)."
        )
    proto = _parsed(source)
    if proto.trainer_spec.model_type != 1:
        raise UserError(f"{name} is cut by a SentencePiece model that is not of type unigram.")
    scores = {piece.piece: piece.score for piece in proto.pieces if piece.type == 1}
    order = sorted(tokenizer.encoder, key=tokenizer.encoder.__getitem__)
    if [tokenizer.encoder[piece] for piece in order] != list(range(len(order))):
        raise UserError(f"vocab.json of {name} has gaps in its ids, and a table of rows has none.")
    if absent := [piece for piece in scores if piece not in tokenizer.encoder]:
        raise UserError(
            f"{len(absent)} pieces of {name}'s source.spm are not in its vocab.json, such as "
            f"{absent[0]!r}: the two files are not of one model."
        )
    pieces = [(piece, scores.get(piece, _NEVER)) for piece in order]
    fast = Tokenizer(models.Unigram(pieces, unk_id=tokenizer.encoder[tokenizer.unk_token]))
    _wrap(fast, proto.normalizer_spec.precompiled_charsmap, tokenizer)
    codes = [piece for piece in order if re.fullmatch(">>.+<<", piece)]  # the language to write
    fast.add_tokens([AddedToken(code, normalized=False) for code in codes])
    roles = {role: getattr(tokenizer, role) for role in ("unk_token", "eos_token", "pad_token")}
    length = tokenizer.model_max_length
    return PreTrainedTokenizerFast(tokenizer_object=fast, model_max_length=length, **roles)


def _wrap(fast: Tokenizer, charsmap: bytes, slow: Any) -> None:
    """What SentencePiece does before and after it cuts, and the end that Marian's texts have."""
    steps = [normalizers.Precompiled(charsmap)] if charsmap else []
    stripped = [normalizers.Strip(left=False), normalizers.Replace(Regex(" {2,}"), "\u2581")]
    fast.normalizer = normalizers.Sequence([*steps, *stripped])
    fast.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    fast.decoder = decoders.Metaspace(prepend_scheme="always")
    end = slow.eos_token
    fast.post_processor = processors.TemplateProcessing(
        single=f"$A {end}", pair=f"$A $B {end}", special_tokens=[(end, slow.encoder[end])]
    )


def _parsed(model: bytes) -> Any:
    """The SentencePiece model as a protocol buffer."""
    from sentencepiece import sentencepiece_model_pb2  # a stranger to who reads no such model

    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model)
    return proto
