"""What validation measures of students; a method says which, as `measured_by`.

`LanguageModelMeasure` of a language-model head; of the head of a task `LabelMeasure`,
`ChoiceMeasure` (of choices and ends of answers) or `ValueMeasure` (of numbers); `TermMeasure` of a
student without a trained head. One of a user's own is a `Measure`.
"""

from lit_distill.measures.labels import ChoiceMeasure as ChoiceMeasure
from lit_distill.measures.labels import LabelMeasure as LabelMeasure
from lit_distill.measures.labels import measure_of as measure_of
from lit_distill.measures.language_model import LanguageModelMeasure as LanguageModelMeasure
from lit_distill.measures.measure import Breakdown as Breakdown
from lit_distill.measures.measure import Measure as Measure
from lit_distill.measures.measure import Measurement as Measurement
from lit_distill.measures.measure import MetricSpec as MetricSpec
from lit_distill.measures.measure import Scores as Scores
from lit_distill.measures.measure import metric_of as metric_of
from lit_distill.measures.tasks import TaskMeasure as TaskMeasure
from lit_distill.measures.terms import TermMeasure as TermMeasure
from lit_distill.measures.values import ValueMeasure as ValueMeasure
