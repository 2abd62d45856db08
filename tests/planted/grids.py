"""Bugs of recipes' grids, of stages side by side, and of controls."""

from __future__ import annotations

from planted.mutant import Mutant

RECIPES = "lit_distill/tools/recipes"
GRID_TEST = "tests/lit_distill/tools/recipes/test_grid.py"
TOGETHER_TEST = "tests/lit_distill/tools/recipes/test_side_by_side.py"
CONTROL_TEST = "tests/lit_distill/cli/test_control.py"
LESS_TEST = "tests/lit_distill/tools/comparing/test_less_control.py"

GRIDS = (
    Mutant(
        "a stage of a grid reads the first cell of another one, whatever its own values",
        f"{RECIPES}/filling.py",
        "wanted = {axis: value.text for axis, value in cell.items() if axis in axes}",
        "wanted = {axis: value.text for axis, value in cells[0][0].items()}",
        f"{GRID_TEST} -k its_own_values",
    ),
    Mutant(
        "a choice of a cell gives way to a stage's own values",
        f"{RECIPES}/filling.py",
        "                wanted[axis] = value\n",
        "                wanted.setdefault(axis, value)\n",
        f"{GRID_TEST} -k goes_before",
    ),
    Mutant(
        "rates are compared as they are spelled",
        f"{RECIPES}/grid.py",
        " or float(wanted) == float(self.text)",
        "",
        f"{GRID_TEST} -k tables",
    ),
    Mutant(
        "two cells share a folder",
        f"{RECIPES}/grid.py",
        "if names.count(name) > 1)",
        "if names.count(name) > 9)",
        f"{GRID_TEST} -k one_line",
    ),
    Mutant(
        "of the cells that an option means, the last one is taken",
        f"{RECIPES}/filling.py",
        "if name in entries and len(cells) > 1:",
        "if False:",
        f"{GRID_TEST} -k one_line",
    ),
    Mutant(
        "a stage starts beside the one that it needs",
        f"{RECIPES}/side_by_side.py",
        "            unsettled |= {one.start.stage.name for one in self.running}\n",
        "",
        f"{TOGETHER_TEST} -k allow",
    ),
    Mutant(
        "all stages run at once",
        f"{RECIPES}/side_by_side.py",
        "if self.stopped or len(self.running) >= self.jobs:",
        "if self.stopped:",
        f"{TOGETHER_TEST} -k room_for",
    ),
    Mutant(
        "a stage starts after the one that it needs has failed",
        f"{RECIPES}/side_by_side.py",
        "lacking = [name for name in stage.needs if name in self.failed]",
        "lacking: list[str] = []",
        f"{TOGETHER_TEST} -k ends_no_other",
    ),
    Mutant(
        "a stopped recipe starts its next stages",
        f"{RECIPES}/side_by_side.py",
        "        self.stopped = True\n",
        "        pass\n",
        f"{TOGETHER_TEST} -k signal",
    ),
    Mutant(
        "the no-teacher control still hears the teacher",
        "lit_distill/methods/logits/supervised_kd.py",
        '= {"alpha_kd": 0.0, "alpha_hard": 1.0}',
        '= {"alpha_kd": 0.5, "alpha_hard": 1.0}',
        f"{CONTROL_TEST} -k as_masked_lm",
    ),
    Mutant(
        "the control of a method without targets has none either",
        "lit_distill/cli/control.py",
        '        data["objective"] = None\n',
        "",
        f"{CONTROL_TEST} -k without_targets",
    ),
    Mutant(
        "the truncation control is trained",
        "lit_distill/cli/control.py",
        "loop.epoch_loop.max_steps = 0  #",
        "pass  #",
        f"{CONTROL_TEST} -k exports_the_start",
    ),
    Mutant(
        "a control goes into the folder of the run whose control it is",
        "lit_distill/cli/settings.py",
        'suffix = f"-{control}" if control else ""',
        'suffix = ""',
        f"{CONTROL_TEST} -k folder_of_its_own",
    ),
    Mutant(
        "the windows of two models are drawn apart",
        "lit_distill/tools/comparing/less_control.py",
        "drawn.append(gaps.mean(0)[places].sum(1) / counts[places].sum(1))",
        "theirs = generator.permuted(control[0][language][:, 0])[places].sum(1)\n"
        "        drawn.append((first[:, 0][places].sum(1) - theirs) / counts[places].sum(1))",
        f"{LESS_TEST} -k standard_error",
    ),
)
