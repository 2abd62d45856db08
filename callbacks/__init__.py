"""How a run is watched and kept: reports, exports, checkpoints. Nothing here changes a loss."""

from callbacks.agreement import TeacherAgreement as TeacherAgreement
from callbacks.checkpoint_io import AtomicCheckpointIO as AtomicCheckpointIO
from callbacks.checkpoint_io import newest_readable_checkpoint as newest_readable_checkpoint
from callbacks.checkpoint_io import read_index as read_index
from callbacks.code_mixing import CodeMixing as CodeMixing
from callbacks.export_student import ExportStudent as ExportStudent
from callbacks.export_student import training_of as training_of
from callbacks.generation_metrics import GenerationMetrics as GenerationMetrics
from callbacks.masked_samples import MaskedSamples as MaskedSamples
from callbacks.non_finite import NonFiniteLoss as NonFiniteLoss
from callbacks.per_language import PerLanguage as PerLanguage
from callbacks.rng_state import RngState as RngState
from callbacks.run_checkpoint import RunCheckpoint as RunCheckpoint
from callbacks.run_progress import RunProgress as RunProgress
from callbacks.sample_text import SampleText as SampleText
from callbacks.student_folder import write_student as write_student
from callbacks.throughput import Throughput as Throughput
