"""Bugs of who reads which key of a batch, and of what is taken for what a data module says."""

from __future__ import annotations

from planted.mutant import Mutant

BATCH, FACTS = "tests/lit_distill/test_batch.py", "tests/lit_distill/test_data_facts.py"

KINDS = (
    Mutant(
        "a method reads a key that its kind of batch does not have",
        "lit_distill/methods/hidden_states/minilm.py",
        'batch.get("segments"), causal)',
        'batch.get("labelled"), causal)',
        f"{BATCH} -k keys_of_its_kind",
    ),
    Mutant(
        "a method that continues prompts says that any batch will do",
        "lit_distill/methods/generated_text/sequence_kd.py",
        "    def losses(self, batch: PromptBatch, window",
        "    def losses(self, batch: Any, window",
        f"{BATCH} -k prompts_alone",
    ),
    Mutant(
        "a view of a pair has keys that no method can name",
        "data_modules/parallel.py",
        '"src_": self.src(own[0], passes)',
        '"source_": self.src(own[0], passes)',
        "tests/data_modules/test_parallel.py -k views_say_the_same",
    ),
)
"""Of batches."""

SAID = (
    Mutant(
        "prompts of nobody knows what length are taken for empty",
        "lit_distill/data_facts.py",
        '"limits"), "prompt", 1)',
        '"limits"), "prompt", 0)',
        FACTS,
    ),
    Mutant(
        "what a data module raises is taken for silence",
        "lit_distill/data_facts.py",
        "    return getattr(module, name, default)\n",
        "    try:\n        return getattr(module, name, default)\n"
        "    except Exception:\n        return default\n",
        f"{FACTS} -k looked_up",
    ),
    Mutant(
        "callbacks take any module for a distillation",
        "lit_distill/training/distillation.py",
        "        if not isinstance(module, Distillation):\n",
        "        if module is None:\n",
        "tests/lit_distill/training/test_distillation.py -k callbacks_know",
    ),
    Mutant(
        "a student that is no language model is passed over",
        "lit_distill/training/cast.py",
        "    assert len(found) == len(modules)",
        "    assert found is not None",
        "tests/lit_distill/training/test_distillation.py -k no_language_model",
    ),
)
"""Of data modules, and of who is who."""
