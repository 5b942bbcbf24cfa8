"""Detailed balance along the sampler's chain (DAG: Zhang et al., *Improving GFlowNets for Text-to-Image Diffusion Alignment*,
arXiv 2406.00633).

States run from noise x_0 to x_{K-1}, which the last step, without noise, makes the sample. A flow F that ends as the sample's
log F(x_{K-1}) = log R and a model p balance a reference at step k < K - 1 where

    d_k = log F(x_k) + log p(x_{k+1} | x_k) - log F(x_{k+1}) - log r_k

is zero. With r_k = q(x_k | x_{k+1}), the noising process, p then samples from R, whatever the model was before (the paper's
setting). With r_k = p_pre(x_{k+1} | x_k), the pretrained sampler, F(x) = E_pre[R | x] and p is the pretrained process
tilted by R: the optimum of path KL - E log R. The last step's own KL is a part of the path KL and no balance: it counts
against log R, and its gradient keeps the step where the reference has it. The noising process leaves that step as it is.

In a Lagrangian w KL + sum_i w_i g_i, whichever of the terms is the objective, this is log R = -sum_i (w_i / w) g_i; for rewards
under a KL as objective, sum_i lambda_i r_i.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from dualsweep.trainer.models.log_flow import Flow
from dualsweep.trainer.rng import Stream, generator
from dualsweep.trainer.samplers import rollout as rollouts
from dualsweep.trainer.samplers.rollout import Path
from dualsweep.trainer.sources.base import AuxiliaryNetwork
from dualsweep.trainer.sources.rollout import RolloutSource, RolloutStep
from dualsweep.trainer.terms.context import TermContext
from dualsweep.trainer.transfer import sent

#: The least coefficient of a closeness that is a constraint, among all, whose absolute sum is 1.
LEAST = 0.02


@dataclass(frozen=True)
class Drawn:
    """Trajectories without gradients, and what of their residuals does not move with the weights.

    path        under the weights that drew it
    reference   [B, K - 1] log r_k, less what the flow has beside its learned part (see `Balance`)
    ahead       [B, K - 1] the flow's part by the reward of the predicted sample
    final       [B] log R of the sample, less the last step's KL to the reference model
    """

    path: Path
    reference: Tensor
    ahead: Tensor
    final: Tensor


class Balance:
    """The flow and the residuals.

    Forward-looking: log F(x_k) = learned(x_k) + gamma_k log R(predicted sample) (+ log N(x_k; 0, I) up to a constant where the
    noising process is the reference: its stationary law, so that the network learns only what differs from it). The sample
    is predicted by the reference model, or by the trained one where there is none. Constants of the Gaussians are left out;
    the learned part takes them in.
    """

    def __init__(self, source: RolloutSource, setting: TermContext) -> None:
        if setting.anchor is None:
            raise ValueError("detailed balance must have a KL along trajectories to align to, but got none; give `path_kl`")
        self.source, self.spec, (self.anchor, to) = source, setting.rollout, setting.anchor
        self.reference = setting.frozen[to].guided if self.spec.reference == "pretrained" else None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(generator(setting.seed, Stream.WEIGHTS, 1).integers(2**63)))
            timesteps = setting.schedule.config.num_train_timesteps
            self.flow = Flow(setting.shape, self.spec.flow.width, timesteps, len(setting.prompts))

    def companions(self) -> dict[str, AuxiliaryNetwork]:
        return {"flow": AuxiliaryNetwork(self.flow, self.spec.flow.lr)}

    @torch.no_grad()
    def drawn(self, path: Path, values: Mapping[int, Tensor], coefficients: Mapping[int, float]) -> Drawn:
        """What is fixed of `path`, whose terms have `values`, for the Lagrangian's coefficients by column."""
        final = self.log_reward(values, coefficients)
        if self.reference is not None:
            guide = path.under(self.reference)
            reference = guide.log_likelihoods()
            final = final - path.divergences(self.reference)[:, -1]
        else:
            guide = path
            base = torch.stack([-0.5 * state.square().flatten(1).sum(1) for state in path.states[:-1]], dim=1)
            following = torch.cat([base[:, 1:], torch.zeros_like(base[:, :1])], dim=1)
            reference = path.noising_log_likelihoods() + following - base
        return Drawn(path.detached(), reference, self._ahead(guide, coefficients), final)

    def closeness_weight(self, coefficients: Mapping[int, float]) -> float:
        """w, of a constraint at least `LEAST`: a closeness that costs nothing yet would ask for a tilt without bound."""
        own = coefficients[self.anchor]
        return max(own, LEAST) if self.anchor else own

    def log_reward(self, values: Mapping[int, Tensor], coefficients: Mapping[int, float]) -> Tensor:
        """log R [B] of the terms' values [B] by column; the closeness among them is left to the residual."""
        scale = self.closeness_weight(coefficients)
        shares = [-(coefficients[column] / scale) * each for column, each in values.items() if column != self.anchor]
        return torch.stack(shares).sum(0)

    def _ahead(self, guide: Path, coefficients: Mapping[int, float]) -> Tensor:
        """[B, K - 1]; costs one evaluation of the rewards for each step."""
        look_ahead = self.spec.flow.look_ahead
        if look_ahead == "none":
            return torch.zeros(len(guide.samples), len(guide.steps) - 1, device=guide.samples.device)
        log_rewards = []
        for signal, predicted in zip(guide.steps.signal[:-1], guide.predicted()[:-1], strict=True):
            gamma = signal if look_ahead == "signal" else 1.0
            there = Path(guide.steps, [], [predicted], guide.prompts)
            terms = zip(self.source.columns, self.source.terms, strict=True)
            values = {column: term.values(there) for column, term in terms if column != self.anchor}
            log_rewards.append(gamma * self.log_reward(values, coefficients))
        return torch.stack(log_rewards, dim=1)

    def learned(self, drawn: Drawn) -> Tensor:
        """The learned part of log F(x_k), k < K - 1, [B, K - 1], with gradients to the flow."""
        states, timesteps = drawn.path.states[:-1], drawn.path.steps.timesteps[:-1]
        t = sent(torch.tensor(timesteps), states[0].device).repeat_interleave(len(states[0]))
        prompts = drawn.path.prompts.repeat(len(states)) if drawn.path.prompts is not None else None
        learned: Tensor = self.flow(torch.cat(states), t, prompts).view(len(states), -1).T
        return learned


def residuals(learned: Tensor, log_likelihoods: Tensor, drawn: Drawn) -> Tensor:
    """d_k [B, K - 1] for the learned part of the flow and log p(x_{k+1} | x_k), each [B, K - 1]."""
    here = learned + drawn.ahead
    following = torch.cat([here[:, 1:], drawn.final[:, None]], dim=1)
    return here + log_likelihoods - following - drawn.reference


class BalanceStep(RolloutStep):
    """What both variants share: trajectories are drawn once, and stepped on `rollout.updates` times."""

    def __init__(self, balance: Balance, step: int, coefficients: Mapping[int, float]) -> None:
        super().__init__(balance.source, step, coefficients)
        self._plain = coefficients  # numbers: a flow is learned for one set of multipliers
        self._balance, self._closeness = balance, balance.closeness_weight(coefficients)
        self._kept: Drawn | None = None

    @torch.no_grad()
    def _draw(self) -> Drawn:
        path = self._rolled_out()
        self._measured = self._source.values(path)
        return self._balance.drawn(path, self._measured, self._plain)

    def _revisited(self, drawn: Drawn) -> tuple[Tensor, Tensor]:
        """log p(x_{k+1} | x_k) [B, K - 1] under the present weights and the last step's share of the loss, with gradients."""
        path = rollouts.revisit(self._source.forward, drawn.path, self._balance.spec.activation_checkpointing)
        likelihoods, reference = path.log_likelihoods(), self._balance.reference
        if reference is None:
            return likelihoods, likelihoods.new_zeros(())
        return likelihoods, self._closeness * self._share(path.divergences(reference)[:, -1])

    def _less_the_others(self, residuals: Tensor) -> Tensor:
        """Residuals [B, K - 1] less their mean over the other samples of the batch at the same step, without gradients to it.

        What they have in common the flow has still to learn. It moves the expected gradient of the model not at all, and is most
        of the noise in it (Richter et al. 2020, arXiv 2010.10436, the log-variance loss).
        """
        total = self._source.host.total(residuals.detach().sum(0))
        return residuals - (total - residuals.detach()) / max(1, self._size - 1)

    def _flow_loss(self, learned: Tensor, residuals: Tensor) -> Tensor:
        """Half the squared d_k + trace d_{k+1} + trace^2 d_{k+2} + ... [B, K - 1], in which log F(x_k) alone is learned.

        All of the first square's gradient would also pull F(x_{k+1}) to where d_k *varies* least (Baird 1995, residual
        gradients): the sampler's variance is not that of the exact reversal, and samples become far too narrow. With the
        later flow held fixed, log F(x_k) is minus the least cost that is left, whatever the variances; without a trace it
        learns one step further from the sample at a time (Sutton 1988, TD(lambda)).
        """
        trace = self._balance.spec.flow.trace
        away = residuals.detach().clone()
        for k in reversed(range(away.shape[1] - 1)):
            away[:, k] += trace * away[:, k + 1]
        target = learned.detach() - away
        return self._closeness * self._share(0.5 * (learned - target).square().sum(1))


class BalanceEstimator:
    """An estimator that learns a flow network beside the model."""

    step: type[BalanceStep]

    def __init__(self, source: RolloutSource, setting: TermContext) -> None:
        self._balance = Balance(source, setting)

    @property
    def updates(self) -> int:
        return self._balance.spec.updates

    def companions(self) -> dict[str, AuxiliaryNetwork]:
        return self._balance.companions()

    def begin_step(self, step: int, coefficients: Mapping[int, float]) -> BalanceStep:
        return self.step(self._balance, step, coefficients)
