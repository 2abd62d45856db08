"""Bugs in what a method hears of its teacher, and in what it trains beside its students."""

from __future__ import annotations

from planted.mutant import Mutant

PIECES = (
    "tests/test_every_method.py::test_gradient_is_the_same_with_weights_in_pieces"
    "[projected_states-bert-32-true]"
)
AUXILIARY = "tests/lit_distill/test_auxiliary.py"

HEARING = (
    Mutant(
        "modules beside the students drift apart under FSDP2",
        "lit_distill/assembly.py",
        "        shard_auxiliary(dict(module.auxiliary.items()), module.device_mesh)\n",
        "        pass\n",
        PIECES,
    ),
    Mutant(
        "modules in containers drift apart under FSDP2",
        "lit_distill/models/sharding.py",
        "        _shard_parts(children, mesh)\n",
        "",
        PIECES,
    ),
    Mutant(
        "every rank keeps running means of its own",
        "lit_distill/updates.py",
        "            broadcast_buffers(self.auxiliary)\n",
        "            pass\n",
        f"{AUXILIARY} -k buffers",
    ),
    Mutant(
        "initial weights beside the students follow what was drawn before",
        "lit_distill/assembly.py",
        "        with stream.drawn(torch.get_default_device()):\n",
        "        with nullcontext():\n",
        f"{AUXILIARY} -k initial",
    ),
    Mutant(
        "a validation without a teacher asks for what only training reads",
        "lit_distill/checkpoints.py",
        '    _leave_out_auxiliary(module, checkpoint.get("state_dict", {}))\n',
        "",
        f"{AUXILIARY} -k needs_no_teacher",
    ),
)
