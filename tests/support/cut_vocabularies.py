"""Tokenizers of every kind that can be trimmed, trained on a few lines in three scripts."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import cache

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

WORDS = {
    "en": "the a river rivers runs running past old older houses house where cats sleep and read",
    "hi": "नदी पुराने घर के पास बहती है जहाँ बिल्ली सोती और बच्चे किताब पढ़ते हैं घरों बच्चों",
    "bn": "নদী পুরনো বাড়ির পাশে বয়ে যায় যেখানে বিড়াল ঘুমায় আর শিশুরা বই পড়ে বাড়ি বইয়ের",
}
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def lines(language: str, count: int = 120, seed: int = 0) -> list[str]:
    """Word salads, some with a sign, a number or a word of another language."""
    draw, words = random.Random(f"{language}{seed}"), WORDS[language].split()
    found = []
    for _ in range(count):
        line = draw.choices(words, k=draw.randint(2, 9))
        line[draw.randrange(len(line))] += draw.choice(["", "", ",", "!", " 42"])
        found.append(" ".join(line))
    return found


TEXTS = [line for language in WORDS for line in lines(language)]


def _around(tokenizer: Tokenizer, first: str, last: str) -> None:
    ends = [(token, tokenizer.token_to_id(token)) for token in (first, last)]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}", pair=f"{first} $A {last} $B {last}", special_tokens=ends
    )


def _wordpiece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=330, special_tokens=BERT, show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    ends = ((token, tokenizer.token_to_id(token)) for token in ("[SEP]", "[CLS]"))
    tokenizer.post_processor = processors.BertProcessing(*ends)
    return tokenizer


def _unigram(fallback: bool = False) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    if fallback:
        model = json.loads(tokenizer.to_str())["model"]
        bytes_ = [(f"<0x{byte:02X}>", -20.0) for byte in range(256)]
        pieces = [*map(tuple, model["vocab"]), *bytes_]
        tokenizer.model = models.Unigram(pieces, model["unk_id"], byte_fallback=True)
    _around(tokenizer, "<s>", "</s>")
    return tokenizer


def _byte_bpe() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=520, special_tokens=SPECIAL, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(TEXTS, trainer)
    # as Qwen's: control tokens behind the vocabulary
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    return tokenizer


def _roberta() -> Tokenizer:
    tokenizer = _byte_bpe()
    ends = ((token, tokenizer.token_to_id(token)) for token in ("</s>", "<s>"))
    roberta = processors.RobertaProcessing(*ends, add_prefix_space=False)
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(), roberta])
    return tokenizer


def _suffixed_bpe() -> Tokenizer:
    """As the first BPE for words: `</w>` ends them, and what is no character is unknown."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.BPEDecoder()
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=SPECIAL, end_of_word_suffix="</w>", show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    _around(tokenizer, "<s>", "</s>")
    return tokenizer


def _prefixed_bpe() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", continuing_subword_prefix="##"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=SPECIAL, continuing_subword_prefix="##", show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def _fallback_bpe(ignore_merges: bool = False) -> Tokenizer:
    """As Llama's: all merges of every piece, as converters of SentencePiece models write them."""
    source = json.loads(_byte_free_bpe().to_str())["model"]["vocab"]
    order = sorted(source, key=source.__getitem__)
    first = SPECIAL + [f"<0x{byte:02X}>" for byte in range(256)]
    pieces = first + [piece for piece in order if piece not in first]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    merges = [
        (vocabulary[piece], piece[:cut], piece[cut:])
        for piece in order
        for cut in range(1, len(piece))
        if piece not in first and {piece[:cut], piece[cut:]} <= vocabulary.keys()
    ]
    model = models.BPE(
        vocabulary, [(one, two) for _, one, two in sorted(merges)], unk_token="<unk>",
        fuse_unk=True, byte_fallback=True, ignore_merges=ignore_merges,
    )  # fmt: skip
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    _around(tokenizer, "<s>", "</s>")
    return tokenizer


def _byte_free_bpe() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=330, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


_KINDS: dict[str, Callable[[], Tokenizer]] = {
    "wordpiece": _wordpiece,
    "unigram": _unigram,
    "unigram with bytes": lambda: _unigram(fallback=True),
    "byte-level BPE": _byte_bpe,
    "byte-level BPE with a template": _roberta,
    "BPE with ends of words": _suffixed_bpe,
    "BPE with insides of words": _prefixed_bpe,
    "BPE with bytes": _fallback_bpe,
    "BPE that ignores merges": lambda: _fallback_bpe(ignore_merges=True),
}
KINDS = tuple(_KINDS)


@cache
def _backend(kind: str) -> str:
    return _KINDS[kind]().to_str()


def tokenizer_of(kind: str) -> PreTrainedTokenizerFast:
    """A tokenizer of a kind, with the roles of BERT's or RoBERTa's special tokens."""
    roles = dict(zip(("cls", "pad", "sep", "unk", "mask"), SPECIAL, strict=True))
    if kind == "wordpiece":
        roles = dict(zip(("pad", "unk", "cls", "sep", "mask"), BERT, strict=True))
    else:
        roles |= {"bos": roles["cls"], "eos": roles["sep"]}
    named = {f"{role}_token": token for role, token in roles.items()}
    backend = Tokenizer.from_str(_backend(kind))
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=64, **named)
