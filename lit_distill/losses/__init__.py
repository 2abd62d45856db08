"""Losses: pure functions of tensors, no Lightning, no transformers."""

from lit_distill.losses.alpha_beta import AlphaBeta as AlphaBeta
from lit_distill.losses.divergences import Divergence as Divergence
from lit_distill.losses.divergences import ForwardKL as ForwardKL
from lit_distill.losses.divergences import ReverseKL as ReverseKL
from lit_distill.losses.divergences import SoftCrossEntropy as SoftCrossEntropy
from lit_distill.losses.divergences import TotalVariation as TotalVariation
from lit_distill.losses.hard_targets import CrossEntropy as CrossEntropy
from lit_distill.losses.hard_targets import FocalLoss as FocalLoss
from lit_distill.losses.hard_targets import SmoothedCrossEntropy as SmoothedCrossEntropy
from lit_distill.losses.hard_targets import SymmetricCrossEntropy as SymmetricCrossEntropy
from lit_distill.losses.linear import Head as Head
from lit_distill.losses.linear import linear_losses as linear_losses
from lit_distill.losses.logit_mse import LogitMSE as LogitMSE
from lit_distill.losses.mixtures import JensenShannon as JensenShannon
from lit_distill.losses.mixtures import SkewKL as SkewKL
from lit_distill.losses.mixtures import SkewReverseKL as SkewReverseKL
from lit_distill.losses.nkd import NormalisedKD as NormalisedKD
from lit_distill.losses.row_loss import RowLoss as RowLoss
from lit_distill.losses.states import cosine as cosine
from lit_distill.losses.states import mse as mse
from lit_distill.losses.term import LogitTerm as LogitTerm
from lit_distill.losses.term import Term as Term
from lit_distill.losses.term import Weight as Weight
from lit_distill.losses.term import weight_at as weight_at
