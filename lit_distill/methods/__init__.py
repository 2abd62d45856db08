"""Methods, one class a file; this line-per-method list is what makes bare names resolve."""

from lit_distill.methods.generated_text.distillm import DistiLLM as DistiLLM
from lit_distill.methods.generated_text.gkd import GKD as GKD
from lit_distill.methods.generated_text.sequence_kd import SequenceKD as SequenceKD
from lit_distill.methods.hidden_states.minilm import MiniLM as MiniLM
from lit_distill.methods.hidden_states.minilm_v2 import MiniLMv2 as MiniLMv2
from lit_distill.methods.logits.supervised_kd import SupervisedKD as SupervisedKD
from lit_distill.methods.logits.triple_loss import TripleLoss as TripleLoss
from lit_distill.methods.peers.co_distillation import CoDistillation as CoDistillation
from lit_distill.methods.peers.mutual_learning import MutualLearning as MutualLearning
from lit_distill.methods.pretraining.causal_lm import CausalLM as CausalLM
from lit_distill.methods.pretraining.masked_lm import MaskedLM as MaskedLM
