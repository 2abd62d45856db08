"""How a run is watched and kept: reports, exports, checkpoints. Nothing here changes a loss."""

from callbacks.reports.agreement import TeacherAgreement as TeacherAgreement
from callbacks.reports.code_mixing import CodeMixing as CodeMixing
from callbacks.reports.masked_samples import MaskedSamples as MaskedSamples
from callbacks.reports.model_probe import ProbeReport as ProbeReport
from callbacks.reports.per_language import PerLanguage as PerLanguage
from callbacks.saving.checkpoint_io import AtomicCheckpointIO as AtomicCheckpointIO
from callbacks.saving.checkpoint_io import newest_readable_checkpoint as newest_readable_checkpoint
from callbacks.saving.checkpoint_io import read_index as read_index
from callbacks.saving.export_student import ExportStudent as ExportStudent
from callbacks.saving.export_student import training_of as training_of
from callbacks.saving.read_texts import note_read_texts as note_read_texts
from callbacks.saving.read_texts import read_texts as read_texts
from callbacks.saving.rng_state import RngState as RngState
from callbacks.saving.run_checkpoint import RunCheckpoint as RunCheckpoint
from callbacks.saving.run_facts import facts_of as facts_of
from callbacks.saving.student_folder import write_student as write_student
from callbacks.watching.non_finite import NonFiniteLoss as NonFiniteLoss
from callbacks.watching.run_progress import RunProgress as RunProgress
from callbacks.watching.throughput import Throughput as Throughput
from callbacks.written_text.generation_metrics import GenerationMetrics as GenerationMetrics
from callbacks.written_text.sample_text import SampleText as SampleText
