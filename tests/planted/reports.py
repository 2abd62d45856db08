"""Bugs in what reports and model cards tell."""

from __future__ import annotations

from planted.mutant import Mutant

REPORTING = "lit_distill/tools/reporting"
TESTS = "tests/lit_distill/tools/reporting"
PIECES, REPORT = f"{TESTS}/test_pieces.py", f"{TESTS}/test_report.py"

REPORTS = (
    Mutant(
        "of many languages the best are drawn",
        f"{REPORTING}/drawing.py",
        "sign = -1 if smaller_is_better else 1",
        "sign = 1 if smaller_is_better else -1",
        f"{PIECES} -k worst",
    ),
    Mutant(
        "a curve that was logged again after a resume keeps what is void",
        f"{REPORTING}/curves.py",
        "self.numbers.setdefault(tag, {})[step] = value",
        "self.numbers.setdefault(tag, {}).setdefault(step, value)",
        f"{PIECES} -k went_on",
    ),
    Mutant(
        "a thinned curve loses its end",
        f"{REPORTING}/drawing.py",
        "step = (len(points) - 1) / (POINTS - 1)",
        "step = (len(points) - 1) / POINTS",
        f"{PIECES} -k thinned",
    ),
    Mutant(
        "colours of charts are the same in light and dark",
        f"{REPORTING}/drawing.py",
        "        svg = svg.replace(colour, variable)\n",
        "        pass\n",
        f"{PIECES} -k colour",
    ),
    Mutant(
        "texts of samples keep their escapes",
        f"{REPORTING}/samples.py",
        "            text += escaped or plain",
        "            text += (escaped and chr(92) + escaped) or plain",
        f"{PIECES} -k come_back",
    ),
    Mutant(
        "names in a page are markup",
        f"{REPORTING}/rendering.py",
        "        autoescape=html,",
        "        autoescape=False,",
        f"{TESTS}/test_hostile.py -k markup",
    ),
    Mutant(
        "scores of the last validation are told as those of the best",
        f"{REPORTING}/runs.py",
        'best = inside(self.report, "best", "students", student)',
        "best = dict[str, Any]()",
        f"{REPORT} -k worse_end",
    ),
    Mutant(
        "a teacher that was only begun from has distilled",
        f"{REPORTING}/runs.py",
        'self.facts.get("hears", "") is not None',
        "True",
        f"{REPORT} -k not_heard",
    ),
    Mutant(
        "a loss that is higher is told as better",
        f"{REPORTING}/measured.py",
        "return known is not None and known.smaller_is_better",
        "return False",
        f"{REPORT} -k a_loss_is_better",
    ),
    Mutant(
        "a recipe's report replaces files of others",
        f"{REPORTING}/report.py",
        '            check_output_file(place, is_ours, [], "run_dir")\n',
        "            pass\n",
        f"{REPORT} -k fails_by_nothing",
    ),
    Mutant(
        "a licence makes every store and every cell anew",
        "data_modules/reading/sources.py",
        "licence: str | None = field(default=None, repr=False, compare=False)",
        "licence: str | None = None",
        "tests/lit_distill/test_data_facts.py -k licence_changes",
    ),
    Mutant(
        "the limits of a card name the best languages",
        "callbacks/saving/model_card.py",
        "reverse=metric.smaller_is_better)",
        "reverse=not metric.smaller_is_better)",
        "tests/callbacks/saving/test_export_student.py -k hub_library",
    ),
)
"""What is read off a page and believed."""
