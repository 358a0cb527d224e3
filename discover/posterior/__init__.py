"""Posteriors: not one rule but all that would do the task, each with its probability.

Nothing is imported here that needs PyTorch.
"""

from discover.posterior.forms import Posterior
from discover.posterior.prior import Family, Parameter, family_of_rule, family_of_terms
from discover.posterior.rounds import Budget

__all__ = ["Budget", "Family", "Parameter", "Posterior", "family_of_rule", "family_of_terms"]
