"""Bugs in what a method hears of its teacher, and in what it trains beside its students."""

from __future__ import annotations

from planted.mutant import Mutant

PIECES = (
    "tests/test_every_method.py::test_gradient_is_the_same_with_weights_in_pieces"
    "[projected_states-bert-64-true]"
)
BROKEN = "tests/callbacks/written_text/test_broken_teachers.py"
FINITE = "tests/lit_distill/models/loading/test_finite.py"
SOURCE = "tests/lit_distill/training/test_own_source.py"
AUXILIARY = "tests/lit_distill/training/test_auxiliary.py"

HEARING = (
    Mutant(
        "a teacher of other tokens is compared with in validation",
        "lit_distill/training/cast.py",
        "return [*models.values()] if self.shares_vocabulary else []",
        "return [*models.values()]",
        "tests/lit_distill/training/test_views.py -k another_tokenizer",
    ),
    Mutant(
        "a teacher of other tokens is checked as if it had the student's",
        "lit_distill/models/fitting/vocabulary.py",
        "teacher, facts = teacher if same_vocabulary else None, DataFacts(data)",
        "facts = DataFacts(data)",
        "tests/lit_distill/training/test_views.py -k another_tokenizer",
    ),
    Mutant(
        "modules beside the students drift apart under FSDP2",
        "lit_distill/training/building.py",
        "        shard_auxiliary(named, mesh)\n",
        "        pass\n",
        PIECES,
    ),
    Mutant(
        "modules in containers drift apart under FSDP2",
        "lit_distill/models/body/sharding.py",
        "        _shard_parts(children, mesh)\n",
        "",
        PIECES,
    ),
    Mutant(
        "every rank keeps running means of its own",
        "lit_distill/training/distillation.py",
        "            broadcast_buffers(self.auxiliary)\n",
        "            pass\n",
        f"{AUXILIARY} -k buffers",
    ),
    Mutant(
        "initial weights beside the students follow what was drawn before",
        "lit_distill/training/building.py",
        "        with stream.drawn(torch.get_default_device()):\n",
        "        with nullcontext():\n",
        f"{AUXILIARY} -k initial",
    ),
    Mutant(
        "a validation without a teacher asks for what only training reads",
        "lit_distill/training/checkpoints.py",
        "            del weights[key]\n",
        "            pass\n",
        f"{AUXILIARY} -k needs_no_teacher",
    ),
    Mutant(
        "the teacher is asked about the student's positions in another view",
        "lit_distill/models/teachers/outputs.py",
        "with_signal(fn, rows if teacher_rows is None else teacher_rows)",
        "with_signal(fn, rows)",
        "tests/lit_distill/training/test_views.py",
    ),
    Mutant(
        "positions of one view are taken for those of another",
        "lit_distill/models/teachers/outputs.py",
        "if teacher_rows is None and teacher.view != student.view:",
        "if False:",
        "tests/lit_distill/training/test_views.py",
    ),
    Mutant(
        "teachers' heads are carried out of where they are whole",
        "lit_distill/models/teachers/live.py",
        "with_lm_heads(call, [(model, states) for model, (_, states) in pairs])",
        "call([model.with_lm_head(lambda head: head, states) for model, (_, states) in pairs])",
        "tests/lit_distill/models/body/test_sharding.py -k speak",
    ),
    Mutant(
        "NaN in the teacher's weights is found after three updates",
        "lit_distill/models/loading/pretrained.py",
        "    check_finite(model, anatomy, name, Path(source.name))\n",
        "",
        FINITE,
    ),
    Mutant(
        "weights of large sums count as damaged",
        "lit_distill/models/loading/finite.py",
        "        if bad.any():\n",
        "        if True:\n",
        f"{FINITE} -k large_sums",
    ),
    Mutant(
        "a bias that switches tokens off counts as damaged",
        "lit_distill/models/loading/finite.py",
        "            bad &= values != -torch.inf\n",
        "            pass\n",
        f"{FINITE} -k switched_off",
    ),
    Mutant(
        "the learning rate is blamed for the teacher",
        "callbacks/watching/non_finite.py",
        "    if not who:\n",
        "    if True:\n",
        f"{BROKEN} -k named",
    ),
    Mutant(
        "only the rank that saw it blames the teacher",
        "callbacks/watching/non_finite.py",
        "        torch.distributed.all_reduce(flags, torch.distributed.ReduceOp.MAX)\n",
        "        pass\n",
        f"{BROKEN} -k both_ranks",
    ),
    Mutant(
        "NaN of a teacher is written down",
        "lit_distill/tools/caching/cache_shards.py",
        "        if np.isnan(log_p).any():\n",
        "        if False:\n",
        "tests/lit_distill/tools/caching/test_cache_teacher.py -k no_numbers",
    ),
    Mutant(
        "what a method captures of its teacher is not asked for",
        "lit_distill/models/teachers/live.py",
        "encoded = [model.encode(batch, view, capture) for model in models]",
        "encoded = [model.encode(batch, view) for model in models]",
        f"{SOURCE} -k one_forward",
    ),
    Mutant(
        "states of any site are the last ones",
        "lit_distill/models/body/encoded.py",
        "states = self.hidden if site is None else self.captured[site]",
        "states = self.hidden",
        "tests/lit_distill/models/teachers/test_ensemble.py -k site",
    ),
    Mutant(
        "a source that gives too little is taken",
        "lit_distill/training/building.py",
        "    if found is not None and method.hears not in found.gives:\n",
        "    if False:\n",
        f"{SOURCE} -k cannot_give",
    ),
    Mutant(
        "a source is asked about the first micro-batch of a window only",
        "lit_distill/training/accumulation.py",
        '[source.read(each) for each in batch["window"]]',
        '[source.read(batch["window"][0]), *batch["window"][1:]]',
        f"{SOURCE} -k server",
    ),
    Mutant(
        "a run goes on from another source",
        "lit_distill/training/checkpoints.py",
        """    found = saved.get("teacher_source")\n""",
        """    found = None\n""",
        f"{SOURCE} -k own_source",
    ),
    Mutant(
        "the cache of a checkpoint of the last release is forgotten",
        "lit_distill/training/checkpoints.py",
        'if cache := saved.get("teacher_cache"):',
        "if cache := dict[str, str]():",
        "tests/lit_distill/training/test_teacher_source.py -k own_cache",
    ),
    Mutant(
        "a validation weighs its terms as the beginning of a run",
        "lit_distill/losses/window.py",
        "progress: float = 1.0",
        "progress: float = 0.0",
        "tests/lit_distill/losses/test_window.py -k alone",
    ),
)
