"""Methods, one class a file; this line-per-method list is what makes bare names resolve."""

from lit_distill.methods.causal_lm import CausalLM as CausalLM
from lit_distill.methods.co_distillation import CoDistillation as CoDistillation
from lit_distill.methods.distillm import DistiLLM as DistiLLM
from lit_distill.methods.gkd import GKD as GKD
from lit_distill.methods.masked_lm import MaskedLM as MaskedLM
from lit_distill.methods.minilm import MiniLM as MiniLM
from lit_distill.methods.minilm_v2 import MiniLMv2 as MiniLMv2
from lit_distill.methods.mutual_learning import MutualLearning as MutualLearning
from lit_distill.methods.sequence_kd import SequenceKD as SequenceKD
from lit_distill.methods.supervised_kd import SupervisedKD as SupervisedKD
from lit_distill.methods.triple_loss import TripleLoss as TripleLoss
