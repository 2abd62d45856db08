"""Bugs in vocabularies that are trimmed: in their pieces, their rows, their ids and the counts."""

from __future__ import annotations

from planted.mutant import Mutant

MODEL = "lit_distill/models/vocabularies/model_trimming.py"
IDS = "lit_distill/models/vocabularies/token_ids.py"
TOKENIZER = "lit_distill/models/vocabularies/tokenizer_trimming.py"
CLOSURE = "lit_distill/models/vocabularies/closure.py"
MERGES = "lit_distill/models/vocabularies/merges.py"
MAP = "lit_distill/models/vocabularies/vocabulary_map.py"
TOOL = "lit_distill/tools/trimming"
OF_MODELS = "tests/lit_distill/models/vocabularies/test_model_ids_and_ties.py"
OF_TOKENIZERS = "tests/lit_distill/models/vocabularies/test_tokenizer_trimming.py"
OF_MAPS = "tests/lit_distill/models/vocabularies/test_vocabulary_map.py"
OF_SELECTIONS = "tests/lit_distill/tools/trimming/test_selections.py"
OF_TOOL = "tests/lit_distill/tools/trimming/test_trim_vocabulary.py"

TRIMMING = (
    Mutant(
        "a bias is cut to its first entries",
        MODEL,
        "    rows = rows.to(old.device)\n",
        "    rows = rows.to(old.device) if old.ndim > 1 else torch.arange(len(rows))\n",
        f"{OF_MODELS} -k every_table",
    ),
    Mutant(
        "the constant bias of Marian is cut to its first entries",
        MODEL,
        "nn.Buffer(old.index_select(-1, rows))",
        "nn.Buffer(old[..., : len(rows)])",
        f"{OF_MODELS} -k marian_never",
    ),
    Mutant(
        "the constant bias keeps its length",
        MODEL,
        "        tables |= {name: part for name",
        "        {name: part for name",
        f"{OF_MODELS} -k marian_never",
    ),
    Mutant(
        "every name of a tied table gets a table of its own",
        MODEL,
        "exchanged[id(old)])",
        "_shorter(old, rows))",
        f"{OF_MODELS} -k every_table",
    ),
    Mutant(
        "the tables of an encoder and a decoder of their own stay long",
        MODEL,
        "        readers += [model.get_encoder(), model.get_decoder()]\n",
        "        readers += []\n",
        f"{OF_MODELS} -k every_table",
    ),
    Mutant(
        "embeddings forget which row is padding",
        MODEL,
        "module.padding_idx = None if pad is None else new.get(pad)",
        "module.padding_idx = pad",
        f"{OF_MODELS} -k new_size_and_padding",
    ),
    Mutant(
        "positions counted from the padding id move",
        MODEL,
        "    if (offset or anatomy.counts_from_padding) and new.get(pad, pad) != pad:",
        "    if False:",
        f"{OF_MODELS} -k positions",
    ),
    Mutant(
        "the generation config keeps old ids",
        IDS,
        'waiting: list[Any] = [model.config, getattr(model, "generation_config", None)]',
        "waiting: list[Any] = [model.config]",
        f"{OF_MODELS} -k every_id",
    ),
    Mutant(
        "ids in settings of settings are stale",
        IDS,
        "(_NAMES.fullmatch(key) or isinstance(inner, dict))",
        "isinstance(inner, dict)",
        f"{OF_MODELS} -k every_id",
    ),
    Mutant(
        "places of forced tokens are taken for ids",
        IDS,
        '    if name == "forced_decoder_ids":\n',
        '    if name == "none":\n',
        f"{OF_MODELS} -k every_id",
    ),
    Mutant(
        "a dropped id of a config stays as it was",
        IDS,
        "        if number not in new:\n            raise",
        "        if number not in new:\n            return number\n            raise",
        f"{OF_MODELS} -k dropped_id",
    ),
    Mutant(
        "pieces of a dictionary keep their old ids",
        TOKENIZER,
        'pieces = {piece: new[old] for piece, old in model["vocab"].items() if old in new}',
        'pieces = {piece: old for piece, old in model["vocab"].items() if old in new}',
        f"{OF_TOKENIZERS} -k all_files",
    ),
    Mutant(
        "the unknown piece of a Unigram keeps its old place",
        TOKENIZER,
        '"unk_id": None if unknown is None else new[unknown]',
        '"unk_id": unknown and min(unknown, len(scored) - 1)',
        f"{OF_TOKENIZERS} -k unknown_character",
    ),
    Mutant(
        "a template around texts keeps its old ids",
        TOKENIZER,
        'token["ids"] = [new[old] for old in token["ids"]]',
        'token["ids"] = list(token["ids"])',
        f"{OF_TOKENIZERS} -k templates",
    ),
    Mutant(
        "the last merge of what is kept is dropped",
        TOKENIZER,
        '    return {**model, "vocab": pieces, "merges": merges}',
        '    return {**model, "vocab": pieces, "merges": merges[:-1]}',
        f"{OF_TOKENIZERS} -k cut_as_before",
    ),
    Mutant(
        "a piece is kept without what it is merged from",
        CLOSURE,
        "            return self._merges.made_through(piece)",
        "            return set()",
        f"{OF_TOKENIZERS} -k merged_from",
    ),
    Mutant(
        "missing pieces are taken for whole",
        CLOSURE,
        "            return len(self._merges.merged(piece, kept)[0])\n",
        "            return len(self._merges.merged(piece)[0])\n",
        f"{OF_SELECTIONS} -k cut_into",
    ),
    Mutant(
        "the last of equal pairs is merged first",
        MERGES,
        "                for place, pair in enumerate(pairwise(row))\n",
        "                for place, pair in reversed([*enumerate(pairwise(row))])\n",
        f"{OF_TOKENIZERS} -k first_of_equals",
    ),
    Mutant(
        "merges go from left to right, whatever their rank",
        MERGES,
        "place = min(places, key=lambda at: self.ranks[row[at], row[at + 1]])",
        "place = min(places)",
        f"{OF_TOKENIZERS} -k first_of_equals",
    ),
    Mutant(
        "the ends of BERT's texts keep their old ids",
        TOKENIZER,
        "changed[name] = [token, new[old]]",
        "changed[name] = [token, old]",
        f"{OF_TOKENIZERS} -k templates",
    ),
    Mutant(
        "characters of kept pieces are lost",
        CLOSURE,
        "        return self.numbers_of(self.spelt(piece))\n",
        "        return set()\n",
        f"{OF_TOKENIZERS} -k characters",
    ),
    Mutant(
        "the cost of an unknown character changes",
        CLOSURE,
        "        kept |= {numbers[lowest]}\n",
        "",
        f"{OF_TOKENIZERS} -k unknown_character",
    ),
    Mutant(
        "bytes that no text has are lost",
        CLOSURE,
        "        pieces += pre_tokenizers.ByteLevel.alphabet()\n",
        "        pieces += []\n",
        f"{OF_SELECTIONS} -k below",
    ),
    Mutant(
        "a map takes new ids for old ones",
        MAP,
        'return _looked_up(self._new, old_ids, "old")',
        'return _looked_up(self._old, old_ids, "old")',
        f"{OF_MAPS} -k any_shape",
    ),
    Mutant(
        "a map of ids out of order is read",
        MAP,
        "for one, other in pairwise(kept) if other <= one",
        "for one, other in pairwise(kept) if other == one",
        f"{OF_MAPS} -k was_changed",
    ),
    Mutant(
        "occurrences are counted for texts",
        f"{TOOL}/counting.py",
        "for number in {*one.ids})",
        "for number in one.ids)",
        f"{OF_SELECTIONS} -k training_texts",
    ),
    Mutant(
        "held-out texts are counted texts",
        f"{TOOL}/counting.py",
        'for text in of("validation") if text.strip()',
        'for text in of("train") if text.strip()',
        f"{OF_SELECTIONS} -k training_texts",
    ),
    Mutant(
        "languages are counted together",
        f"{TOOL}/selections.py",
        "found = [np.flatnonzero(one.times >= least[one.language]) for one in counts]",
        "found = [np.flatnonzero(sum(o.times for o in counts) >= sum(least.values()))]",
        f"{OF_SELECTIONS} -k enough_of_one",
    ),
    Mutant(
        "the language with the least need is served first",
        f"{TOOL}/size_budget.py",
        "np.argsort(-growth, kind",
        "np.argsort(growth, kind",
        f"{OF_SELECTIONS} -k most_need",
    ),
    Mutant(
        "hidden states are not compared",
        f"{TOOL}/verifying.py",
        "        if not torch.equal(one.states, other.states):",
        "        if False:",
        f"{OF_TOOL} -k refused[states]",
    ),
    Mutant(
        "the tokenizer is not compared",
        f"{TOOL}/verifying.py",
        "        if moved.tolist() != other:",
        "        if False:",
        f"{OF_TOOL} -k refused[tokenizer]",
    ),
    Mutant(
        "any logits will do",
        f"{TOOL}/verifying.py",
        "        if not apart[1] <= TOLERANCE:",
        "        if False:",
        f"{OF_TOOL} -k what_they_add_up",
    ),
    Mutant(
        "ids in configs are not compared",
        f"{TOOL}/verifying.py",
        "    if moved != after:",
        "    if False:",
        f"{OF_TOOL} -k refused[configs]",
    ),
    Mutant(
        "a trimmed folder is replaced",
        f"{TOOL}/trim_vocabulary.py",
        "    if folder.exists():\n",
        "    if False:\n",
        f"{OF_TOOL} -k never_replaced",
    ),
    Mutant(
        "weights are saved in float32 whatever they were",
        f"{TOOL}/trim_vocabulary.py",
        "subject.model.to(subject.dtype).save_pretrained(folder)",
        "subject.model.save_pretrained(folder)",
        f"{OF_TOOL} -k dtype",
    ),
)
