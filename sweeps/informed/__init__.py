"""Placing constrained trainings by what their multipliers say of the front: see `sampler.py` and docs/informed.md."""

from sweeps.informed.outcome import ATTRIBUTE, Outcome, report
from sweeps.informed.reading import Budget
from sweeps.informed.sampler import STOPPED, DualInformedSampler, Front
from sweeps.informed.search import StopDecision

__all__ = ["ATTRIBUTE", "STOPPED", "Budget", "DualInformedSampler", "Front", "Outcome", "StopDecision", "report"]
