"""Bugs in how students are changed, frozen in part and exported with what belongs to them."""

from __future__ import annotations

from planted.mutant import Mutant

SURGERY = "lit_distill/models/students/surgery.py"
LORA = "lit_distill/models/students/lora.py"
CHANGED = "tests/lit_distill/training/test_changed_students.py"
STUDENTS = "tests/lit_distill/models/students"
EXPORTED = "tests/lit_distill/training/test_exported.py"

CHANGES = (
    Mutant(
        "what a checkpoint names is imported",
        SURGERY,
        "found = [kind for kind in _kinds(Surgery.__subclasses__()) if class_path(kind) == name]",
        "found = [__import__('pydoc').locate(str(name))]",
        f"{STUDENTS}/test_surgery.py -k cannot_name",
    ),
    Mutant(
        "surgeries are undone first to last",
        SURGERY,
        "surgery = surgery_from(model.surgeries[-1])",
        "surgery = surgery_from(model.surgeries[0])",
        f"{STUDENTS}/test_surgery.py -k comes_back",
    ),
    Mutant(
        "a student comes back without what was changed",
        "lit_distill/models/students/restoring.py",
        'operate(student, map(surgery_from, state.get("surgeries", ())))',
        'student.surgeries = state.get("surgeries", [])',
        f"{STUDENTS}/test_surgery.py -k comes_back",
    ),
    Mutant(
        "new weights follow the trainer's precision",
        SURGERY,
        "torch.set_default_dtype(torch.float32)",
        "pass",
        f"{CHANGED}::test_two_ranks_are_one[lora]",
    ),
    Mutant(
        "a run goes on with another surgery",
        "lit_distill/training/checkpoints.py",
        '{**state["config"], "surgeries": state.get("surgeries", [])}',
        'state["config"]',
        f"{CHANGED} -k another_surgery",
    ),
    Mutant(
        "layers of LoRA start in training mode",
        LORA,
        "model.model.train(training)",
        "pass",
        f"{STUDENTS}/test_lora.py -k only_matrices",
    ),
    Mutant(
        "LoRA divides by the rank whatever was asked",
        LORA,
        "use_rslora=self.rslora,",
        "",
        f"{STUDENTS}/test_lora.py -k papers",
    ),
    Mutant(
        "an adapter names no model",
        LORA,
        "whole.config.name_or_path or None",
        "None",
        f"{STUDENTS}/test_lora.py -k peft_reads",
    ),
    Mutant(
        "a carved student passes for its teacher",
        "lit_distill/models/students/starts/carving.py",
        '"_name_or_path": ""}',
        "}",
        f"{STUDENTS}/test_surgery.py -k every_start",
    ),
    Mutant(
        "weights of an adapter that are missing stay random",
        "lit_distill/models/loading/adapters.py",
        'warnings.filterwarnings("error", "Found missing adapter keys")',
        'warnings.filterwarnings("ignore", "Found missing adapter keys")',
        f"{STUDENTS}/test_lora.py -k cannot_be_merged",
    ),
)

HEADS = (
    Mutant(
        "a fresh head is torn from the embeddings",
        "lit_distill/models/students/starts/carving.py",
        "place.get(value.data_ptr(), value) for name",
        "named.get(name, value) for name",
        "tests/lit_distill/cli/test_control.py -k begins_with_one",
    ),
    Mutant(
        "the control of a sentence encoder has no head",
        "lit_distill/cli/control.py",
        "    if headless:",
        "    if not headless:",
        "tests/lit_distill/cli/test_control.py -k begins_with_one",
    ),
    Mutant(
        "a teacher that is heard may lack its head",
        "lit_distill/training/cast.py",
        "not (self.hears is None and alone)",
        "not alone",
        "tests/lit_distill/cli/test_control.py -k begins_with_one",
    ),
)

FREEZING = (
    Mutant(
        "a tied weight is frozen by one of its names",
        "lit_distill/models/students/freezing.py",
        "named = dict(model.model.named_parameters(remove_duplicate=False))",
        "named = dict(model.model.named_parameters())",
        f"{STUDENTS}/test_freezing.py -k either_name",
    ),
    Mutant(
        "a pattern that names nothing freezes nothing",
        "lit_distill/models/students/freezing.py",
        "        if not found:\n",
        "        if found is None:\n",
        f"{STUDENTS}/test_freezing.py -k names_nothing",
    ),
    Mutant(
        "a student of which nothing trains is trained",
        "lit_distill/models/students/student_spec.py",
        "        if not trained:\n",
        "        if trained < 0:\n",
        f"{STUDENTS}/test_surgery.py -k nothing_left",
    ),
)

PROJECTIONS = (
    Mutant(
        "exported projections stay whole on every rank",
        "lit_distill/training/building.py",
        'parts = {"auxiliary": cast.auxiliary, "exported": cast.exported}',
        'parts = {"auxiliary": cast.auxiliary}',
        f"{EXPORTED} -k in_pieces",
    ),
    Mutant(
        "exported projections are not trained",
        "lit_distill/training/distillation.py",
        'beside = {"auxiliary": self.auxiliary, "exported": self.exported}',
        'beside = {"auxiliary": self.auxiliary}',
        f"{EXPORTED} -k plain_torch",
    ),
    Mutant(
        "an export from a checkpoint has no projections",
        "lit_distill/tools/export.py",
        'exported = _weights(content, "exported.")',
        "exported = {}",
        f"{EXPORTED} -k without_the_method",
    ),
    Mutant(
        "measuring asks for projections that the teacher would shape",
        "lit_distill/training/checkpoints.py",
        'if key.startswith(("auxiliary.", "exported."))',
        'if key.startswith("auxiliary.")',
        f"{EXPORTED} -k without_the_method",
    ),
)
