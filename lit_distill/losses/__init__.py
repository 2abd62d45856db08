"""Losses: pure functions of tensors, no Lightning, no transformers."""

from lit_distill.losses.divergences import ForwardKL as ForwardKL
from lit_distill.losses.linear import Head as Head
from lit_distill.losses.linear import linear_losses as linear_losses
from lit_distill.losses.relations import Relation as Relation
from lit_distill.losses.relations import Visible as Visible
from lit_distill.losses.relations import relation_kl as relation_kl
from lit_distill.losses.row_loss import CrossEntropy as CrossEntropy
from lit_distill.losses.row_loss import LogitMSE as LogitMSE
from lit_distill.losses.row_loss import RowLoss as RowLoss
from lit_distill.losses.states import cosine as cosine
from lit_distill.losses.states import mse as mse
from lit_distill.losses.term import LogitTerm as LogitTerm
from lit_distill.losses.term import Term as Term
from lit_distill.losses.term import Weight as Weight
from lit_distill.losses.term import weight_at as weight_at
