"""Data modules: corpora in which language is a first-class column."""

from data_modules.code_mixed import CodeMixedCorpus as CodeMixedCorpus
from data_modules.corpus import Corpus as Corpus
from data_modules.curriculum import Curriculum as Curriculum
from data_modules.loader import EvaluationLoader as EvaluationLoader
from data_modules.loader import WindowLoader as WindowLoader
from data_modules.mix import Mix as Mix
from data_modules.multilingual import MultilingualCorpus as MultilingualCorpus
from data_modules.objectives import MaskedTokens as MaskedTokens
from data_modules.objectives import NextToken as NextToken
from data_modules.objectives import Noised as Noised
from data_modules.objectives import Objective as Objective
from data_modules.objectives import Plain as Plain
from data_modules.parallel import ParallelCorpus as ParallelCorpus
from data_modules.parallel_sources import ParallelSource as ParallelSource
from data_modules.phrasebook import PhrasebookCorpus as PhrasebookCorpus
from data_modules.sampling import Proportional as Proportional
from data_modules.sampling import Sampler as Sampler
from data_modules.sampling import Temperature as Temperature
from data_modules.sampling import Weights as Weights
from data_modules.sources import Source as Source
