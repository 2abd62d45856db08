"""Language models: where their organs are, how a student starts, what a teacher is."""

from lit_distill.models.architectures.anatomy import Anatomy as Anatomy
from lit_distill.models.architectures.anatomy import Predicted as Predicted
from lit_distill.models.architectures.anatomy import Projection as Projection
from lit_distill.models.architectures.anatomy import TaskHead as TaskHead
from lit_distill.models.architectures.table import ANATOMIES as ANATOMIES
from lit_distill.models.architectures.table import anatomy_of as anatomy_of
from lit_distill.models.body.dropout import RandomStream as RandomStream
from lit_distill.models.body.encoded import Encoded as Encoded
from lit_distill.models.body.encoded import Site as Site
from lit_distill.models.body.execution import Execution as Execution
from lit_distill.models.body.heads import decided as decided
from lit_distill.models.body.heads import decision_logits as decision_logits
from lit_distill.models.body.heads import with_lm_heads as with_lm_heads
from lit_distill.models.body.language_model import LanguageModel as LanguageModel
from lit_distill.models.body.projections import attention_heads as attention_heads
from lit_distill.models.body.projections import check_layer as check_layer
from lit_distill.models.body.projections import check_same_causality as check_same_causality
from lit_distill.models.body.projections import probe as probe
from lit_distill.models.body.projections import projections as projections
from lit_distill.models.body.projections import repeat_heads as repeat_heads
from lit_distill.models.body.sharding import broadcast_buffers as broadcast_buffers
from lit_distill.models.body.sharding import full_state_dict as full_state_dict
from lit_distill.models.body.sharding import shard as shard
from lit_distill.models.body.sharding import shard_auxiliary as shard_auxiliary
from lit_distill.models.body.ties import declare_separate as declare_separate
from lit_distill.models.body.ties import differing_names as differing_names
from lit_distill.models.body.ties import separate_names as separate_names
from lit_distill.models.fitting.alike import reading_alike as reading_alike
from lit_distill.models.fitting.data_fit import check_length as check_length
from lit_distill.models.fitting.first_batch import Reach as Reach
from lit_distill.models.fitting.first_batch import check_batch as check_batch
from lit_distill.models.fitting.labels import check_kind as check_kind
from lit_distill.models.fitting.labels import check_same_labels as check_same_labels
from lit_distill.models.fitting.labels import task_of as task_of
from lit_distill.models.fitting.vocabulary import check_agreement as check_agreement
from lit_distill.models.fitting.vocabulary import check_model_vocabulary as check_model_vocabulary
from lit_distill.models.fitting.vocabulary import check_models as check_models
from lit_distill.models.fitting.vocabulary import read_otherwise as read_otherwise
from lit_distill.models.fitting.vocabulary import settle_padding as settle_padding
from lit_distill.models.fitting.vocabulary import share_vocabulary as share_vocabulary
from lit_distill.models.generation.continuation import (
    prompts_without_response as prompts_without_response,
)
from lit_distill.models.generation.continuation import (
    with_missing_responses as with_missing_responses,
)
from lit_distill.models.generation.continuation import (
    with_written_responses as with_written_responses,
)
from lit_distill.models.generation.continuation import write as write
from lit_distill.models.generation.generation import Generated as Generated
from lit_distill.models.generation.generation import Sampling as Sampling
from lit_distill.models.generation.generation import check_room as check_room
from lit_distill.models.generation.generation import generate as generate
from lit_distill.models.generation.generation import start_id as start_id
from lit_distill.models.generation.replay_buffer import ReplayBuffer as ReplayBuffer
from lit_distill.models.generation.text_ends import ending_ids as ending_ids
from lit_distill.models.generation.text_ends import generation_state as generation_state
from lit_distill.models.generation.text_ends import known_endings as known_endings
from lit_distill.models.generation.text_ends import restore_generation as restore_generation
from lit_distill.models.generation.text_filter import TextFilter as TextFilter
from lit_distill.models.loading.finite import gives_non_finite as gives_non_finite
from lit_distill.models.loading.saved_size import parameters_of as parameters_of
from lit_distill.models.loading.tokenizer_files import tokenizer_files as tokenizer_files
from lit_distill.models.loading.tokenizer_files import tokenizer_from_files as tokenizer_from_files
from lit_distill.models.loading.tokenizer_files import (
    write_tokenizer_files as write_tokenizer_files,
)
from lit_distill.models.loading.tokenizers import load_tokenizer as load_tokenizer
from lit_distill.models.loading.tokenizers import tokenizer_fingerprint as tokenizer_fingerprint
from lit_distill.models.students.exported import Exported as Exported
from lit_distill.models.students.exported import check_exported as check_exported
from lit_distill.models.students.exported import write_exported as write_exported
from lit_distill.models.students.freezing import copy_matching_weights as copy_matching_weights
from lit_distill.models.students.freezing import freeze_body as freeze_body
from lit_distill.models.students.freezing import freeze_without_gradient as freeze_without_gradient
from lit_distill.models.students.freezing import name_hint as name_hint
from lit_distill.models.students.freezing import names_of as names_of
from lit_distill.models.students.freezing import reached_by as reached_by
from lit_distill.models.students.freezing import shortest_module_names as shortest_module_names
from lit_distill.models.students.lora import LoRA as LoRA
from lit_distill.models.students.restoring import student_from_state as student_from_state
from lit_distill.models.students.restoring import student_state as student_state
from lit_distill.models.students.sharing import share_body as share_body
from lit_distill.models.students.starts.factorised_copy import (
    FactorisedCopyStudent as FactorisedCopyStudent,
)
from lit_distill.models.students.starts.fresh import FreshStudent as FreshStudent
from lit_distill.models.students.starts.layer_copy import LayerCopyStudent as LayerCopyStudent
from lit_distill.models.students.starts.narrow_copy import NarrowCopyStudent as NarrowCopyStudent
from lit_distill.models.students.starts.pretrained import PretrainedStudent as PretrainedStudent
from lit_distill.models.students.starts.retokenising import (
    VocabularyTransferStudent as VocabularyTransferStudent,
)
from lit_distill.models.students.student_spec import Student as Student
from lit_distill.models.students.surgery import Surgery as Surgery
from lit_distill.models.students.surgery import undo as undo
from lit_distill.models.teachers.cached import CachedOutputs as CachedOutputs
from lit_distill.models.teachers.cached import CachedTeacher as CachedTeacher
from lit_distill.models.teachers.ensemble import Ensemble as Ensemble
from lit_distill.models.teachers.live import LiveOutputs as LiveOutputs
from lit_distill.models.teachers.live import LiveTeachers as LiveTeachers
from lit_distill.models.teachers.live import teach as teach
from lit_distill.models.teachers.outputs import TeacherOutputs as TeacherOutputs
from lit_distill.models.teachers.outputs import teacher_view as teacher_view
from lit_distill.models.teachers.outputs import with_teacher as with_teacher
from lit_distill.models.teachers.source import Hears as Hears
from lit_distill.models.teachers.source import Identity as Identity
from lit_distill.models.teachers.source import SourceIdentity as SourceIdentity
from lit_distill.models.teachers.source import TeacherSource as TeacherSource
from lit_distill.models.teachers.teacher import TeacherSpec as TeacherSpec
from lit_distill.models.teachers.teacher import fingerprint as fingerprint
from lit_distill.models.teachers.teacher import fingerprint_of_weights as fingerprint_of_weights
from lit_distill.models.teachers.teacher_cache import TeacherCache as TeacherCache
from lit_distill.models.vocabularies.closure import closure as closure
from lit_distill.models.vocabularies.model_trimming import trim_model as trim_model
from lit_distill.models.vocabularies.tokenizer_trimming import trim_tokenizer as trim_tokenizer
from lit_distill.models.vocabularies.trimmed_model import TrimmedModel as TrimmedModel
from lit_distill.models.vocabularies.vocabulary_map import DROPPED as DROPPED
from lit_distill.models.vocabularies.vocabulary_map import VocabularyMap as VocabularyMap
