"""Bugs of updates in which not all models move, and of losses over pairs of texts."""

from __future__ import annotations

from planted.mutant import Mutant

UPDATES = "lit_distill/training/updates.py"
OVER_RANKS = "lit_distill/losses/over_ranks.py"
PLAYERS = "tests/lit_distill/training/test_players.py"
GATHERED = "tests/lit_distill/losses/test_over_ranks.py"

PLAYED = (
    Mutant(
        "who rests moves on",
        UPDATES,
        "            self._drop_gradients(resting)\n",
        "",
        f"{PLAYERS}::test_two_players_move_as_in_a_plain_loop",
    ),
    Mutant(
        "gradients of who rests are dropped after everybody has read them",
        UPDATES,
        "            self._drop_gradients(resting)\n            self._drop_resting()\n"
        "            return result\n\n        optimizer.step(closure=run)\n",
        "            return result\n\n        optimizer.step(closure=run)\n"
        "        self._drop_gradients(resting)\n",
        f"{PLAYERS}::test_what_is_infinite_about_who_rests_stops_nobody",
    ),
    Mutant(
        "a model that has never moved resumes with moments of one step",
        UPDATES,
        "            trainer.optimizers[0].state.pop(parameter, None)",
        "            pass",
        f"{PLAYERS}::test_two_ranks_move_as_one",
    ),
    Mutant(
        "a folder of weights in pieces must have moments of every model",
        "lit_distill/files/sharded_checkpoint.py",
        "            del moments[name]",
        "            pass",
        f"{PLAYERS}::test_two_ranks_move_as_one",
    ),
    Mutant(
        "a model's own options are not looked at",
        UPDATES,
        "{**self._own(name).options, **own}",
        "own",
        f"{PLAYERS}::test_options_are_those_of_one_model",
    ),
    Mutant(
        "a model's own weight decay is that of its norms and biases, too",
        UPDATES,
        "{**self._own(name).options, **own}",
        "{**own, **self._own(name).options}",
        f"{PLAYERS}::test_options_are_those_of_one_model",
    ),
    Mutant(
        "an option that the optimizer does not have is taken",
        "lit_distill/training/optimizer_checks.py",
        "    if unknown:\n",
        "    if False:\n",
        f"{PLAYERS}::test_options_that_cannot_work_are_refused",
    ),
    Mutant(
        "a name that is no model's rests for ever",
        UPDATES,
        "        if strangers or not players:\n",
        "        if not players:\n",
        f"{PLAYERS}::test_who_is_nobody_is_refused",
    ),
    Mutant(
        "models rest under DeepSpeed, which moves them",
        UPDATES,
        "        if self._kept_from_us:\n",
        "        if False:\n",
        f"{PLAYERS}::test_who_is_nobody_is_refused",
    ),
    Mutant(
        "ranks must have equally many rows",
        OVER_RANKS,
        "rows.new_zeros(max(sizes), ",
        "rows.new_zeros(len(rows), ",
        GATHERED,
    ),
    Mutant(
        "what other ranks say of a rank's rows has no gradient",
        OVER_RANKS,
        "        distributed.all_reduce(total)\n",
        "",
        GATHERED,
    ),
    Mutant(
        "every rank takes the first rows for its own",
        OVER_RANKS,
        "return every, sum(sizes[: distributed.get_rank()])",
        "return every, 0",
        GATHERED,
    ),
    Mutant(
        "losses over pairs of texts are accumulated",
        "lit_distill/training/accumulation.py",
        "if couples and accumulate > 1",
        "if couples and accumulate > 8",
        "tests/lit_distill/training/test_coupled_terms.py",
    ),
)
