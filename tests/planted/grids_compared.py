"""Bugs in what makes a comparison fair, in its intervals, and in recommendations made of it."""

from __future__ import annotations

from planted.mutant import Mutant

ROOM, ADVICE = "lit_distill/tools/comparing", "lit_distill/tools/recommending"
LESS = f"tests/{ROOM}/test_less_control.py"
FAIR = f"tests/{ROOM}/test_fairness.py"
FIGURE = f"tests/{ROOM}/test_figure.py"
GRID = f"tests/{ROOM}/test_compare_grid.py"
RECOMMEND = f"tests/{ADVICE}/test_recommend.py"
RECORD = "tests/callbacks/watching/test_training_record.py"

GRIDS_COMPARED = (
    Mutant(
        "the spread of seeds is left out of the interval",
        f"{ROOM}/less_control.py",
        "draws = draws + sd / np.sqrt(len(by_seed)) * numbers",
        "draws = draws + 0 * numbers",
        f"{LESS} -k students_t",
    ),
    Mutant(
        "seeds are taken for more than they are",
        f"{ROOM}/less_control.py",
        "generator.standard_t(number - 1, size=500 * DRAWS)",
        "generator.standard_normal(size=500 * DRAWS)",
        f"{LESS} -k students_t",
    ),
    Mutant(
        "windows are drawn anew under each seed",
        f"{ROOM}/less_control.py",
        "drawn.append(gaps.mean(0)[places].sum(1) / counts[places].sum(1))",
        "own = [row[generator.permuted(places)].sum(1) for row in gaps]\n"
        "        drawn.append(np.mean(own, axis=0) / counts[places].sum(1))",
        f"{LESS} -k same_under_all_seeds",
    ),
    Mutant(
        "differences that are not allowed are compared",
        f"{ROOM}/fairness.py",
        "refused = [one for one in found if one.item not in allowed]",
        "refused = [one for one in found if one.item not in allowed] if not allowed else []",
        f"{FAIR} -k may_be_allowed",
    ),
    Mutant(
        "a truncation may begin elsewhere",
        f"{ROOM}/fairness.py",
        'if item in ("data", "order", "updates", "tokens"):',
        'if item in ("data", "order", "start", "updates", "tokens"):',
        f"{FAIR} -k truncation",
    ),
    Mutant(
        "a seed that is not the first is not looked at",
        f"{ROOM}/fairness.py",
        "        found += list(_deviations(seed, runs, control))\n",
        "        found = found or list(_deviations(seed, runs, control))\n",
        f"{FAIR} -k all_seeds_are_said",
    ),
    Mutant(
        "texts in another order are the same where a hash is known",
        f"{ROOM}/fairness.py",
        "most = str(max(common))",
        "most = str(min(common))",
        f"{FAIR} -k may_be_allowed",
    ),
    Mutant(
        "the updates of the best weights pass for all that were made",
        f"{ROOM}/records.py",
        '    updates = _whole(report.get("updates"))\n',
        '    updates = _whole(inside(report, "best", "students", student).get("updates"))\n',
        f"{FAIR} -k what_a_record_says",
    ),
    Mutant(
        "the order is that of masks",
        "callbacks/watching/training_record.py",
        'return known if "sample_id" in batch else [*known, batch["input_ids"]]',
        'return [*known, batch["input_ids"]]',
        f"{RECORD} -k not_of_masks",
    ),
    Mutant(
        "a run that goes on calls its weights a start",
        "callbacks/watching/training_record.py",
        "if self._known and not self._starts:",
        "if self._known:",
        f"{RECORD} -k never_stopped",
    ),
    Mutant(
        "a run of an earlier release calls the weights with which it goes on its start",
        "callbacks/watching/training_record.py",
        "        self._known = state is not None\n",
        "",
        f"{RECORD} -k earlier_release",
    ),
    Mutant(
        "intervals are drawn around a method's own loss",
        f"{ROOM}/figure.py",
        "ends = base + row.gap.low, base + row.gap.high",
        "ends = row.loss.mean + row.gap.low, row.loss.mean + row.gap.high",
        f"{FIGURE} -k above_the_controls",
    ),
    Mutant(
        "agreement is that with the first seed's model",
        f"{ROOM}/grid.py",
        "by_seed = {name: [of(name, seed) for seed in grid.seeds] for name in grid.models}",
        "by_seed = {name: [of(name, grid.seeds[0])] * len(grid.seeds) for name in grid.models}",
        f"{GRID} -k single_comparisons",
    ),
    Mutant(
        "a data set is predicted by itself",
        f"{ADVICE}/verdict.py",
        "guessed = fit([row for row in rows if row.data_set != name])(own)",
        "guessed = fit(list(rows))(own)",
        f"{RECOMMEND} -k by_hand",
    ),
    Mutant(
        "what is no better than averages is recommended",
        f"{ADVICE}/verdict.py",
        "if own.absolute >= self.average.absolute:",
        "if own.absolute < 0:",
        f"{RECOMMEND} -k averages_say",
    ),
    Mutant(
        "noise is recommended",
        f"{ADVICE}/recommend.py",
        "    if verdict.why_not:\n",
        "    if not verdict.rows:\n",
        f"{RECOMMEND} -k noise",
    ),
    Mutant(
        "the worst pipeline stands first",
        f"{ADVICE}/recommend.py",
        "key=lambda one: -one.predicted",
        "key=lambda one: one.predicted",
        f"{RECOMMEND} -k known_answer",
    ),
    Mutant(
        "every data set has the same best pipeline",
        f"{ADVICE}/regression.py",
        "return np.concatenate([of_data, of_pipeline, both], axis=1)",
        "return np.concatenate([of_data, of_pipeline, 0 * both], axis=1)",
        f"{RECOMMEND} -k known_answer",
    ),
    Mutant(
        "a gain is a loss",
        f"{ADVICE}/trials.py",
        "return None if gap is None else -gap",
        "return gap",
        f"{RECOMMEND} -k what_is_kept",
    ),
)
