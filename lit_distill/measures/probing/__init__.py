"""Questions to models that need no task; a config names them by class path."""

from lit_distill.measures.probing.asked import Asked as Asked
from lit_distill.measures.probing.blanks import Blank as Blank
from lit_distill.measures.probing.blanks import Pieces as Pieces
from lit_distill.measures.probing.blanks import word_log_probabilities as word_log_probabilities
from lit_distill.measures.probing.probe import Metrics as Metrics
from lit_distill.measures.probing.probe import ModelProbe as ModelProbe
from lit_distill.measures.probing.probe import Probe as Probe
from lit_distill.measures.probing.pronouns import MaskedPronouns as MaskedPronouns
from lit_distill.measures.probing.responses import Fact as Fact
from lit_distill.measures.probing.responses import IdentityProbe as IdentityProbe
from lit_distill.measures.probing.responses import ResponseSimilarity as ResponseSimilarity
from lit_distill.measures.probing.sentences import Pooling as Pooling
from lit_distill.measures.probing.sentences import vectors as vectors
from lit_distill.measures.probing.style_transfer import Judge as Judge
from lit_distill.measures.probing.style_transfer import StyleTransferScores as StyleTransferScores
from lit_distill.measures.probing.subgroups import SubgroupAUC as SubgroupAUC
from lit_distill.measures.probing.text_losses import text_losses as text_losses
from lit_distill.measures.probing.written import Writing as Writing
