"""Bugs in vocabularies that grow."""

from __future__ import annotations

from planted.mutant import Mutant

GROWING = "lit_distill/models/vocabularies/growing"
MIXING = "lit_distill/models/vocabularies/mixing.py"
TOOL = "lit_distill/tools/growing"
OF_TOKENIZERS = "tests/lit_distill/models/vocabularies/growing/test_tokenizer_growing.py"
OF_MODELS = "tests/lit_distill/models/vocabularies/growing/test_model_growing.py"
OLD_IDS = f"{OF_MODELS}::test_old_ids_have_the_states_and_logits_that_they_had"
OF_TOOL = "tests/lit_distill/tools/growing/test_grow_vocabulary.py"

GROWN = (
    Mutant(
        "an encoder with a table of its own gets the common one",
        MIXING,
        "    for reader, table in own_tables:\n        reader",
        "    for reader, table in own_tables[:0]:\n        reader",
        "tests/lit_distill/models/vocabularies/test_mixing.py",
    ),
    Mutant(
        "new merges come before the old ones",
        f"{GROWING}/tokenizer_growing.py",
        '[*model["merges"], *growth.merges]',
        '[*growth.merges, *model["merges"]]',
        f"{OF_TOKENIZERS} -k old_ids_stay",
    ),
    Mutant(
        "a new row is the first of its pieces",
        f"{GROWING}/model_growing.py",
        "new = [list(piece.parts) for piece in pieces]",
        "new = [list(piece.parts[:1]) for piece in pieces]",
        f"{OLD_IDS}[bert]",
    ),
    Mutant(
        "the decoder's bias is not grown",
        MIXING,
        "zip((decoder.bias, anatomy.logit_bias(model)), biases, strict=True)",
        "zip((None, anatomy.logit_bias(model)), biases, strict=True)",
        f"{OLD_IDS}[bert]",
    ),
    Mutant(
        "a constant bias is not grown",
        MIXING,
        "zip((decoder.bias, anatomy.logit_bias(model)), biases, strict=True)",
        "zip((decoder.bias, None), biases, strict=True)",
        f"{OLD_IDS}[bart]",
    ),
    Mutant(
        "the decoder grows by the embeddings' rows",
        MIXING,
        "weight = torch.sparse.mm(mix, anatomy.lm_head(model).weight.detach())",
        "weight = embeddings",
        f"{OF_MODELS} -k head_of_its_own",
    ),
    Mutant(
        "old ids move: tokens behind the vocabulary are counted from its new end",
        f"{GROWING}/tokenizer_growing.py",
        "        **{text: number for number, text in added},\n",
        "",
        f"{OF_TOKENIZERS} -k old_ids_stay",
    ),
    Mutant(
        "new rows come behind rows of no token",
        f"{GROWING}/model_growing.py",
        "old = [[number] for number in range(tokens)]",
        "old = [[number] for number in range(size)]",
        f"{OLD_IDS}[gpt2]",
    ),
    Mutant(
        "a score is below the lowest old one",
        f"{GROWING}/tokenizer_growing.py",
        "max(sum(old[part] for part in piece.parts), lowest)",
        "sum(old[part] for part in piece.parts)",
        f"{OF_TOKENIZERS} -k scores_are",
    ),
    Mutant(
        "a piece is no better than its parts",
        f"{GROWING}/tokenizer_growing.py",
        "MARGIN * piece.saved",
        "-MARGIN * piece.saved",
        f"{OF_TOKENIZERS} -k scores_are",
    ),
    Mutant(
        "pairs are merged into old pieces",
        f"{GROWING}/merging.py",
        "if text in known or text in made:",
        "if text in made:",
        f"{OF_TOKENIZERS} -k counting_anew",
    ),
    Mutant(
        "counts of neighbours are not told after a merge",
        f"{GROWING}/merging.py",
        "            heappush(self._queue, (-self._counts[other], other))\n",
        "            pass\n",
        f"{OF_TOKENIZERS} -k counting_anew",
    ),
    Mutant(
        "the inside of a word is cut as its start",
        f"{GROWING}/finding.py",
        "inside = text.startswith(prefix) and text != prefix",
        "inside, text = False, text.removeprefix(prefix)",
        f"{OF_TOKENIZERS} -k insides_of_words",
    ),
    Mutant(
        "pieces that stand nowhere stay",
        f"{GROWING}/finding.py",
        "if len(in_use) == len(chosen):",
        "if True:",
        f"{OF_TOKENIZERS} -k others_made_possible",
    ),
    Mutant(
        "frequency alone decides",
        f"{GROWING}/finding.py",
        "(-times[piece.text] * piece.saved, piece.text)",
        "(-times[piece.text], piece.text)",
        f"{OF_TOKENIZERS} -k save_most",
    ),
    Mutant(
        "pieces are made of what is unknown",
        f"{GROWING}/finding.py",
        "if len(ids) > 1 and strange.isdisjoint(ids)",
        "if strange or ids",
        f"{OF_TOKENIZERS} -k what_is_unknown",
    ),
    Mutant(
        "texts of all languages get pieces",
        f"{TOOL}/reading.py",
        'for one in track(wanted, "Reading"',
        'for one in track(data.texts(), "Reading"',
        f"{OF_TOOL}::test_the_folder_is_a_model_that_cuts_bangla_better[WordPiece]",
    ),
    Mutant(
        "cuts are not compared",
        f"{TOOL}/verifying.py",
        "        if spelt != one:\n",
        "        if False:\n",
        f"{OF_TOOL} -k tokenizers_that_differ",
    ),
    Mutant(
        "states are not compared",
        f"{TOOL}/verifying.py",
        "        if not same:\n",
        "        if False:\n",
        f"{OF_TOOL} -k models_that_differ",
    ),
    Mutant(
        "pieces may stand nowhere",
        f"{TOOL}/verifying.py",
        "if piece.text not in [",
        "if not [",
        f"{OF_TOOL} -k tokenizers_that_differ",
    ),
    Mutant(
        "pieces may end in the middle of what WordPiece cannot go on from",
        f"{GROWING}/tokenizer_growing.py",
        "if prefix + character not in pieces)",
        "if False)",
        f"{OF_TOKENIZERS} -k become_unknown",
    ),
)
