"""Bugs in the stages of a run."""

from __future__ import annotations

from planted.mutant import Mutant

STAGES = "lit_distill/training/stages"
RUNS = "tests/lit_distill/training/stages/test_stages.py"
KEPT = "tests/lit_distill/training/stages/test_kept_stages.py"
PLAN = "tests/lit_distill/training/stages/test_plan.py"
STATES = "tests/lit_distill/methods/test_fine_tune_states.py"

STAGED = (
    Mutant(
        "moments that FSDP2 makes up as it loads are kept",
        f"{STAGES}/moving.py",
        "        if name not in names:\n",
        "        if False:\n",
        f"{KEPT} -k pieces",
    ),
    Mutant(
        "a stage trains everything",
        f"{STAGES}/moving.py",
        "        parameter.requires_grad_(parameter in trained)\n",
        "        parameter.requires_grad_(True)\n",
        f"{RUNS} -k freezes_stays",
    ),
    Mutant(
        "a stage begins one update late",
        f"{STAGES}/progress.py",
        "return until is not None and updates >= until",
        "return until is not None and updates > until",
        f"{RUNS} -k freezes_stays",
    ),
    Mutant(
        "DDP waits for the gradients of all stages",
        f"{STAGES}/moving.py",
        "        _wrap_again(trainer)\n",
        "        pass\n",
        f"{RUNS} -k as_one",
    ),
    Mutant(
        "FSDP2 moves what a stage freezes",
        "lit_distill/training/updates.py",
        "            self._drop_resting()\n",
        "",
        f"{KEPT} -k pieces",
    ),
    Mutant(
        "FSDP2 goes on with the weights that it had gathered before others were put back",
        f"{STAGES}/moving.py",
        "            part.reshard()",
        "            pass",
        f"{KEPT} -k pieces",
    ),
    Mutant(
        "a term that a stage weighs otherwise is announced with its own weight",
        "lit_distill/losses/window.py",
        "return own if self.factor is None else own * self.factor(name)",
        "return own",
        f"{RUNS} -k weighed_by_it",
    ),
    Mutant(
        "the first pattern that fits a term holds",
        f"{STAGES}/stage.py",
        "                found = float(factor)\n        return found",
        "                return float(factor)\n        return found",
        f"{PLAN} -k last_pattern",
    ),
    Mutant(
        "the weights that are put back are the last ones",
        f"{STAGES}/stages.py",
        "        if progress.see(value, trainer.global_step) and stage.restore_best:",
        "        if (progress.see(value, trainer.global_step) or True) and stage.restore_best:",
        f"{KEPT} -k put_back",
    ),
    Mutant(
        "best weights change with those that train",
        f"{STAGES}/moving.py",
        ".cpu().clone()",
        ".cpu()",
        f"{KEPT} -k put_back",
    ),
    Mutant(
        "weights are put back with the moments of others",
        f"{STAGES}/moving.py",
        "        optimizer.state.pop(parameter, None)",
        "        pass",
        f"{KEPT} -k begin_anew",
    ),
    Mutant(
        "a checkpoint forgets the best weights of its stage",
        f"{STAGES}/progress.py",
        'self.ends, self.weights = [*state["ends"]], dict(state["weights"])',
        'self.ends = [*state["ends"]]',
        f"{KEPT} -k resumed_run",
    ),
    Mutant(
        "a checkpoint forgets how many validations were no better",
        f"{STAGES}/progress.py",
        '("number", "began", "best", "best_at", "worse", "flat")',
        '("number", "began", "best", "best_at", "worse")',
        f"{KEPT} -k resumed_run",
    ),
    Mutant(
        "a resumed run counts its stages from the first",
        f"{STAGES}/progress.py",
        '("number", "began", "best", "best_at", "worse", "flat")',
        '("best", "best_at", "worse", "flat")',
        f"{KEPT} -k resumed_run",
    ),
    Mutant(
        "the look at the first batch draws the run's random numbers",
        f"{STAGES}/reach.py",
        '        torch.random.fork_rng([device] if device.type == "cuda" else []),\n',
        "",
        f"{RUNS} -k one_stage",
    ),
    Mutant(
        "a stage's rate is that of the run",
        f"{STAGES}/moving.py",
        "lambda step: factor(step) * rate()",
        "lambda step: factor(step)",
        f"{RUNS} -k rate",
    ),
    Mutant(
        "a stage's rate begins one update late",
        f"{STAGES}/stages.py",
        "            moving.renew_rates(trainer)",
        "            pass",
        f"{RUNS} -k rate",
    ),
    Mutant(
        "a plateau counts validations that are hardly better as better",
        f"{STAGES}/progress.py",
        "value < self.best - least",
        "value < self.best",
        f"{PLAN} -k plateau",
    ),
    Mutant(
        "a stage of which nothing learns goes on",
        f"{STAGES}/stages.py",
        "            if not trained:\n",
        "            if False:\n",
        f"{PLAN} -k refused",
    ),
    Mutant(
        "validations of the run are measured by the weights of its first stage",
        f"{STAGES}/stages.py",
        "return self.plan[-1].factor(term) if self.plan else 1.0",
        "return self.plan[0].factor(term) if self.plan else 1.0",
        f"{RUNS} -k by_the_last",
    ),
    Mutant(
        "a metric of which more is better is taken for a loss",
        f"{STAGES}/watching.py",
        "return -value if name in rising else value",
        "return value",
        f"{RUNS} -k more_is_better",
    ),
    Mutant(
        "the first token's states are divided by the count of all",
        "lit_distill/training/states/state_terms.py",
        'return torch.arange(texts, device=batch["tokens"].device) * width, "sequences"',
        'return torch.arange(texts, device=batch["tokens"].device) * width, "tokens"',
        f"{STATES} -k pair",
    ),
    Mutant(
        "states that a stage leaves out are computed",
        "lit_distill/methods/labels/fine_tune.py",
        "        if paired is not None and all(",
        "        if paired is not None and not all(",
        f"{STATES} -k leaves_out",
    ),
    Mutant(
        "states of a view are compared with others",
        "lit_distill/methods/labels/fine_tune.py",
        "            if view:\n",
        "            if False:\n",
        f"{STATES} -k counterpart",
    ),
)
