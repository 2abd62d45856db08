"""Bugs in ONNX exports, and in the gate that is to find them."""

from __future__ import annotations

from planted.mutant import Mutant

ROOM = "lit_distill/tools/delivering"
TESTS = "tests/lit_distill/tools/delivering"
PUSHING = "lit_distill/tools/publishing"
PUSHED = "tests/lit_distill/tools/publishing"
DELIVER = f"{TESTS}/test_deliver.py"

DELIVERIES = (
    Mutant(
        "vectors in a file are means over padding",
        f"{ROOM}/making/traced.py",
        "(states * weights).sum(1)",
        "states.sum(1)",
        f"{TESTS}/making/test_traced.py",
    ),
    Mutant(
        "the first position is that of padding on the left",
        f"{ROOM}/making/traced.py",
        "columns = mask.shape[1] - columns",
        "columns = 0 * columns",
        f"{TESTS}/making/test_traced.py",
    ),
    Mutant(
        "pooling is guessed where nothing tells it",
        f"{ROOM}/deliverables/deliverable.py",
        "if embedding is None and not anatomy.has_head:",
        "if embedding is None and not anatomy.layers_path:",
        f"{TESTS}/deliverables/test_deliverable.py -k guessed",
    ),
    Mutant(
        "the first of several poolings is taken",
        f"{ROOM}/deliverables/deliverable.py",
        "if len(named) != 1 or len(others) > 1 or",
        "if len(named) < 1 or",
        f"{TESTS}/deliverables/test_deliverable.py -k refused",
    ),
    Mutant(
        "the model's own vectors are of another pooling",
        f"{ROOM}/gate/running.py",
        '"first": states[0]',
        '"first": states[-1]',
        f"{TESTS}/gate/test_running.py -k pools",
    ),
    Mutant(
        "padding is attended to",
        f"{ROOM}/gate/examples.py",
        'value = padding if name.endswith("input_ids") else 0',
        'value = padding if name.endswith("input_ids") else 1',
        f"{TESTS}/gate/test_examples.py -k side",
    ),
    Mutant(
        "blocks that were asked for are whole matrices",
        f"{ROOM}/making/int8.py",
        "if spec.blocks:",
        "if spec.blocks and not spec.per_channel:",
        f"{TESTS}/making/test_int8.py -k spoils",
    ),
    Mutant(
        "a weight that lies transposed is taken as it lies",
        f"{ROOM}/making/int8.py",
        "numpy_helper.to_array(weights[weight]).T",
        "numpy_helper.to_array(weights[weight]).reshape(96, -1)",
        f"{TESTS}/making/test_int8.py -k spoils",
    ),
    Mutant(
        "no text is of one token",
        f"{ROOM}/gate/examples.py",
        "for length in (1, 2)",
        "for length in (2, 2)",
        f"{TESTS}/gate/test_examples.py -k extreme",
    ),
    Mutant(
        "KL goes the other way",
        f"{ROOM}/gate/parity.py",
        "np.exp(logs[0]) * (logs[0] - logs[1])",
        "np.exp(logs[1]) * (logs[1] - logs[0])",
        f"{TESTS}/gate/test_parity.py -k oracle",
    ),
    Mutant(
        "NaN is left out of the largest difference",
        f"{ROOM}/gate/parity.py",
        "and bool(np.isfinite(found).all())",
        "",
        f"{TESTS}/gate/test_parity.py -k no_number",
    ),
    Mutant(
        "the nearest text is the text itself",
        f"{ROOM}/gate/parity.py",
        "np.fill_diagonal(table, -np.inf)",
        "np.fill_diagonal(table, 1)",
        f"{TESTS}/gate/test_parity.py -k neighbours",
    ),
    Mutant(
        "NaN is within any bound",
        f"{ROOM}/gate/verdict.py",
        "if not value <= bound + 1e-12:",
        "if value > bound + 1e-12:",
        f"{TESTS}/gate/test_verdict.py -k one_language",
    ),
    Mutant(
        "a language is lost among the others",
        f"{ROOM}/gate/verdict.py",
        'yield from _most(f"{where}: KL", row.kl, gate.int8_worst_kl)',
        "pass",
        f"{TESTS}/gate/test_verdict.py -k one_language",
    ),
    Mutant(
        "won accuracy is refused and lost accuracy is not",
        f"{ROOM}/gate/verdict.py",
        "lost = score.model - value",
        "lost = value - score.model",
        f"{TESTS}/gate/test_verdict.py -k accuracy",
    ),
    Mutant(
        "what the gate says is not asked",
        f"{ROOM}/deliver.py",
        "if beyond := faults(found, scored, request.gate):",
        "if (beyond := faults(found, scored, request.gate)) and not found:",
        f"{DELIVER} -k damaged",
    ),
    Mutant(
        "int8 is float32 by another name",
        f"{ROOM}/deliver.py",
        "    write_int8(scratch / _FILE, beside / _FILE, int8)",
        "    shutil.copyfile(scratch / _FILE, beside / _FILE)",
        f"{DELIVER} -k becomes",
    ),
    Mutant(
        "an export cannot be made again",
        f"{ROOM}/deliver.py",
        "check_output(output, kind=KIND)",
        "check_output(output)",
        f"{DELIVER} -k becomes",
    ),
    Mutant(
        "the card does not show the gate's table",
        f"{ROOM}/card.py",
        "        parity_table(findings),\n",
        "",
        f"{TESTS}/test_card.py",
    ),
    Mutant(
        "all embeddings share one scale",
        f"{ROOM}/making/int8.py",
        "np.abs(table).max(1, keepdims=True)",
        "np.abs(table).max() + 0 * table[:, :1]",
        f"{TESTS}/making/test_int8.py -k each_row",
    ),
    Mutant(
        "a head that is the embeddings stays in float",
        f"{ROOM}/making/int8.py",
        'if node.op_type == "Transpose" and',
        'if node.op_type == "Transposed" and',
        f"{TESTS}/making/test_int8.py -k head",
    ),
    Mutant(
        "int8 is made where float32 was asked for",
        "lit_distill/tools/export.py",
        'small = int8 if format == "onnx-int8" else None',
        "small = int8",
        "tests/lit_distill/tools/test_export.py -k by_way",
    ),
    Mutant(
        "what is pushed is public",
        f"{PUSHING}/push.py",
        "private=not public,",
        "private=public,",
        f"{PUSHED}/test_push.py -k private",
    ),
    Mutant(
        "a repository that holds something is written over",
        f"{PUSHING}/push.py",
        "if there.files and there.head and not overwrite:",
        "if there.files and not there.head and not overwrite:",
        f"{PUSHED}/test_push.py -k added_to",
    ),
    Mutant(
        "links lead out of what is pushed",
        f"{PUSHING}/sent_files.py",
        "if not path.resolve().is_relative_to(folder.resolve()):",
        "if not path.absolute().is_relative_to(folder.absolute()):",
        f"{PUSHED}/test_sent_files.py -k link",
    ),
    Mutant(
        "whatever lies in a folder is pushed",
        f"{PUSHING}/sent_files.py",
        "if path.is_dir() or not _fits(name, (*MODEL, *RIGHTS)):",
        "if path.is_dir():",
        f"{PUSHED}/test_sent_files.py -k told",
    ),
    Mutant(
        "a second evaluation stands below the first",
        f"{PUSHING}/model_card.py",
        "    if earlier:\n",
        "    if not earlier and text in card:\n",
        f"{PUSHED}/test_model_card.py -k second",
    ),
    Mutant(
        "numbers of other weights go into a card",
        f"{PUSHING}/evaluation.py",
        "elif mark != model_mark(str(folder)):",
        "elif not mark.isascii():",
        f"{PUSHED}/test_model_card.py -k other_weights",
    ),
)
