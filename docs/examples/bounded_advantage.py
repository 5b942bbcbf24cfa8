"""An estimator of one's own: policy gradient whose advantages are kept within a few standard deviations, as DDPO's code does."""

from __future__ import annotations

from dualsweep.trainer.samplers.rollout import Path
from dualsweep.trainer.sources.estimators import policy_gradient


class BoundedStep(policy_gradient.PolicyGradient):
    """One outlier among the rewards then moves the weights no further than `bound` deviations do."""

    def _drawn(self) -> Path:
        path = super()._drawn()
        bound = float(self._source.setting.rollout.gradient.options.get("bound", 5.0)) * self._advantage.std()
        self._advantage = self._advantage.clamp(-bound, bound)
        return path


class Estimator(policy_gradient.Estimator):
    """For `rollout.gradient`: made with (source, setting), it begins each primal step with a `step`."""

    step = BoundedStep
