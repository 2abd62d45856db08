"""Bugs that run what a config names."""

from __future__ import annotations

from planted.mutant import Mutant

MODULES_TEST = "tests/lit_distill/cli/parsing/test_modules.py"

SHARDED_TEST = "tests/lit_distill/files/test_sharded_checkpoint.py"

PERMISSIONS = (
    Mutant(
        "a config imports the modules that it names",
        "lit_distill/cli/parsing/modules.py",
        'import_path_denylist=["*"], ',
        "",
        f"{MODULES_TEST} -k strangers",
    ),
    Mutant(
        "any function of torch is an optimizer",
        "lit_distill/cli/training.py",
        "        check_callables(config, parser.where)\n",
        "",
        f"{MODULES_TEST} -k optimizer",
    ),
    Mutant(
        "any class of torch is a weight",
        "lit_distill/cli/parsing/callables.py",
        "if roots else is_permitted(found.__module__)",
        "if roots else True",
        f"{MODULES_TEST} -k weight",
    ),
    Mutant(
        "the index of a checkpoint folder names what it likes",
        "lit_distill/files/sharded_checkpoint.py",
        """            raise ValueError(f"it names {module}.{name}") from None
""",
        "            return super().find_class(module, name)\n",
        f"{SHARDED_TEST} -k an_index_runs_nothing",
    ),
    Mutant(
        "values in a checkpoint folder are unpickled as they are",
        "lit_distill/files/sharded_checkpoint.py",
        "            plain = torch.load(value, weights_only=True)\n",
        "            plain = torch.load(value, weights_only=False)\n",
        f"{SHARDED_TEST} -k a_value_runs_nothing",
    ),
    Mutant(
        "FSDP2 reads checkpoint folders by itself",
        "lit_distill/training/strategies.py",
        """        vars(strategy)["load_checkpoint"] = partial(_load_checkpoint, strategy)\n""",
        "        pass\n",
        f"{SHARDED_TEST} -k a_strategy_runs_nothing",
    ),
    Mutant(
        "pieces of weights are looked for where an index says",
        "lit_distill/files/sharded_checkpoint.py",
        "        check_file_name(entry.relative_path, INDEX)\n",
        "",
        f"{SHARDED_TEST} -k wrong_index",
    ),
)
"""What a file may have done."""
