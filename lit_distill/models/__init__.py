"""Language models: where their organs are, how a student starts, what a teacher is."""

from lit_distill.models.anatomy import Anatomy as Anatomy
from lit_distill.models.architectures import ANATOMIES as ANATOMIES
from lit_distill.models.execution import Execution as Execution
from lit_distill.models.language_model import Encoded as Encoded
from lit_distill.models.language_model import LanguageModel as LanguageModel
from lit_distill.models.language_model import Site as Site
from lit_distill.models.sharding import shard as shard
from lit_distill.models.sharding import whole_state as whole_state
from lit_distill.models.student import CarvedStudent as CarvedStudent
from lit_distill.models.student import FreshStudent as FreshStudent
from lit_distill.models.student import PretrainedStudent as PretrainedStudent
from lit_distill.models.student import Student as Student
from lit_distill.models.student import student_from_state as student_from_state
from lit_distill.models.student import student_state as student_state
from lit_distill.models.teacher import Teacher as Teacher
from lit_distill.models.teacher import fingerprint as fingerprint
from lit_distill.models.vocabulary import check_agreement as check_agreement
from lit_distill.models.vocabulary import check_length as check_length
from lit_distill.models.vocabulary import check_model_vocabulary as check_model_vocabulary
from lit_distill.models.vocabulary import check_models as check_models
from lit_distill.models.vocabulary import load_tokenizer as load_tokenizer
from lit_distill.models.vocabulary import tokenizer_files as tokenizer_files
from lit_distill.models.vocabulary import tokenizer_from_files as tokenizer_from_files
