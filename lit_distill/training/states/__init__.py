"""What mapped hidden states of a student learn of its teacher, for any method to read."""

from lit_distill.training.states.attention_terms import AttentionTerms as AttentionTerms
from lit_distill.training.states.critics import BilinearCritic as BilinearCritic
from lit_distill.training.states.critics import CosineCritic as CosineCritic
from lit_distill.training.states.critics import Critic as Critic
from lit_distill.training.states.critics import SeparableCritic as SeparableCritic
from lit_distill.training.states.layer_maps import AllOnLast as AllOnLast
from lit_distill.training.states.layer_maps import EveryKth as EveryKth
from lit_distill.training.states.layer_maps import ExplicitPairs as ExplicitPairs
from lit_distill.training.states.layer_maps import LastOfGroup as LastOfGroup
from lit_distill.training.states.layer_maps import LastState as LastState
from lit_distill.training.states.layer_maps import LayerMap as LayerMap
from lit_distill.training.states.layer_maps import OneToMany as OneToMany
from lit_distill.training.states.layer_maps import TopAligned as TopAligned
from lit_distill.training.states.layer_maps import Uniform as Uniform
from lit_distill.training.states.layer_maps import UniformPlusLast as UniformPlusLast
from lit_distill.training.states.mutual_information import MutualInformation as MutualInformation
from lit_distill.training.states.projections import LinearProjection as LinearProjection
from lit_distill.training.states.projections import PCAProjection as PCAProjection
from lit_distill.training.states.projections import StateProjection as StateProjection
from lit_distill.training.states.state_terms import StateTerms as StateTerms
