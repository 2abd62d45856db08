"""Ways to ask a model about a task; a config names them by class path."""

from lit_distill.tools.evaluating.modes.as_trained import AsTrained as AsTrained
from lit_distill.tools.evaluating.modes.baselines import BagOfWords as BagOfWords
from lit_distill.tools.evaluating.modes.baselines import Majority as Majority
from lit_distill.tools.evaluating.modes.cloze import Cloze as Cloze
from lit_distill.tools.evaluating.modes.fine_tuning import FineTuning as FineTuning
from lit_distill.tools.evaluating.modes.linear_probe import LinearProbe as LinearProbe
from lit_distill.tools.evaluating.modes.pseudo_perplexity import (
    PseudoPerplexity as PseudoPerplexity,
)
from lit_distill.tools.evaluating.modes.retrieval import (
    CrossLingualRetrieval as CrossLingualRetrieval,
)
