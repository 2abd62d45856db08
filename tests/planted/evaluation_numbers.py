"""Bugs in what an evaluation computes and reports."""

from __future__ import annotations

from planted.mutant import Mutant

SCORING = "lit_distill/tools/evaluating/scoring"
REPORTING = "lit_distill/tools/evaluating/reporting"
TESTS = "tests/lit_distill/tools/evaluating"
FIDELITY = "tests/lit_distill/measures/test_fidelity.py"
RETENTION = f"{TESTS}/scoring/test_retention.py"
SCORE = f"{TESTS}/scoring/test_score.py"
METRICS = f"{TESTS}/scoring/test_metrics.py"

EVALUATION_NUMBERS = (
    Mutant(
        "probability loyalty takes the root of a distance that has it",
        "lit_distill/measures/fidelity.py",
        "np.sqrt(np.clip(divergence, 0, 1))",
        "np.sqrt(np.sqrt(np.clip(divergence, 0, 1)))",
        f"{FIDELITY} -k closed_form",
    ),
    Mutant(
        "the divergence of near distributions is NaN, as in scipy",
        "lit_distill/measures/fidelity.py",
        "np.sqrt(np.clip(divergence, 0, 1))",
        "np.sqrt(divergence)",
        f"{FIDELITY} -k never_nan",
    ),
    Mutant(
        "errors are inherited whatever the student says instead",
        "lit_distill/measures/fidelity.py",
        "_mean((student == teacher)[wrong & taught_wrong])",
        "_mean(wrong[taught_wrong])",
        f"{FIDELITY} -k whose_errors",
    ),
    Mutant(
        "ties in a ranking are decided by the order of the data",
        f"{SCORING}/rankings.py",
        "np.lexsort((targets, -predictions.scores[start:end, 0]))",
        "np.argsort(-predictions.scores[start:end, 0], kind='stable')",
        f"{METRICS} -k ties",
    ),
    Mutant(
        "labels that a draw lacks count in its macro F1",
        f"{SCORING}/sums.py",
        "each.sum(-1) / (occurs > 0).sum(-1)",
        "each.mean(-1)",
        f"{METRICS} -k macro_f1",
    ),
    Mutant(
        "each model is scored on draws of its own",
        f"{SCORING}/retention.py",
        "found[key].append(on_draws(counts))",
        "found[key].append(on_draws(np.roll(counts, ord(key[0][0]), axis=0)))",
        f"{RETENTION} -k same_draws",
    ),
    Mutant(
        "words are drawn, not sentences",
        f"{SCORING}/retention.py",
        "prepared = {key: metric.prepared(own) for key, own in cells.items()}",
        "rows = len(next(iter(cells.values())))\n"
        "    draws = Resamples(rows, draws.number)\n"
        "    for own in cells.values():\n"
        "        own.examples[:] = range(rows)\n"
        "    prepared = {key: metric.prepared(own) for key, own in cells.items()}",
        f"{RETENTION} -k drawn_whole",
    ),
    Mutant(
        "retention is a ratio of scores, chance included",
        f"{SCORING}/retention.py",
        "return (ours - chance) / (theirs - chance)",
        "return ours / theirs",
        f"{RETENTION} -k above_chance",
    ),
    Mutant(
        "a teacher is measurable if it beats one baseline",
        f"{SCORING}/retention.py",
        "if interval is None or interval[0] <= 0:",
        "if interval is None or interval[1] <= 0:",
        f"{RETENTION} -k knows_nothing",
    ),
    Mutant(
        "languages that say nothing are in the mean",
        f"{SCORING}/retention.py",
        "measurable = [part.retention for part in parts.values() if not part.why]",
        "measurable = [part.retention for part in parts.values()]",
        f"{RETENTION} -k out_of_the_mean",
    ),
    Mutant(
        "seeds are averaged before they are paired",
        f"{SCORING}/resampling.py",
        "return next(iter(part.by_seed.values())) if alone else part.by_seed[seed]",
        "return next(iter(part.by_seed.values())) if alone else part.value",
        f"{RETENTION} -k seeds_are_paired",
    ),
    Mutant(
        "examples are paired by their place",
        f"{SCORING}/pairing.py",
        "same = np.array_equal(first.examples, other.examples)",
        "same = len(first.examples) == len(other.examples)",
        f"{SCORE} -k other_answers",
    ),
    Mutant(
        "a text that occurs twice is one example",
        f"{SCORING}/pairing.py",
        "seen[value] = seen.get(value, -1) + 1",
        "seen[value] = 0",
        f"{SCORE} -k twice",
    ),
    Mutant(
        "a cell of NaN is scored",
        f"{SCORING}/pairing.py",
        "if np.isnan(predictions.scores).any():",
        "if False:",
        f"{SCORE} -k broken",
    ),
    Mutant(
        "a student is compared with its teacher of another seed",
        f"{SCORING}/score.py",
        "loyalty(predictions, cells[roles.reference, seed])",
        "loyalty(predictions, cells[roles.reference, min(s for _, s in cells)])",
        f"{SCORE} -k same_seed",
    ),
    Mutant(
        "fused attention costs nothing",
        f"{REPORTING}/cost.py",
        "with eager_attention(model.model), counter, torch.no_grad():",
        "with counter, torch.no_grad():",
        f"{TESTS}/reporting/test_cost.py -k formula",
    ),
    Mutant(
        "a process starts with the peak memory of the one that started it",
        "lit_distill/host_memory.py",
        'if found := _of_status("VmHWM"):',
        "if found := 0:",
        f"{TESTS}/reporting/test_cost.py -k process_of_its_own",
    ),
    Mutant(
        "one model is timed after the other",
        f"{REPORTING}/cost.py",
        "shuffled.shuffle(order)",
        "order.sort()",
        f"{TESTS}/reporting/test_cost.py -k in_turns",
    ),
    Mutant(
        "what was finished first comes first",
        f"{REPORTING}/report.py",
        "ordered = _in_order(cells, list(models), list(metrics or {}))",
        "ordered = list(cells)",
        f"{TESTS}/reporting/test_report.py -k order_of_cells",
    ),
    Mutant(
        "losses of models are told in no line of theirs",
        f"{REPORTING}/tables.py",
        "if own.of_loss}",
        "if not own.of_loss}",
        f"{TESTS}/reporting/test_report.py -k beside_the_mean",
    ),
)
