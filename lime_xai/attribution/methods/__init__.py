"""Attribution methods, one file per family; importing this package registers them.

Captum's methods are Captum's own classes on a row as a function of the decoder's inputs
(``lime_xai.attribution.problem.Problem``); Captum is imported when one of them is first used.
"""

# isort: off
from . import lrp  # first, so that METHODS begins with the LRP methods
from . import ablation, eagle, gradients, integrated, rollout, shapley, stream, tam
# isort: on

__all__ = ["ablation", "eagle", "gradients", "integrated", "lrp", "rollout", "shapley", "stream", "tam"]
