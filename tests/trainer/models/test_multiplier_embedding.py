"""Networks conditioned on multipliers: as they were until trained, free of them at zero, and plain ones when bound."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from diffusers import DiTTransformer2DModel, SD3Transformer2DModel, UNet2DConditionModel, UNet2DModel
from torch import nn

from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.models.multiplier_embedding import bind, places
from dualsweep.trainer.models.predictor import Condition, Predictor, of_network

LOW, HIGH = np.array([0.01, 0.02]), np.array([3.0, 2.0])


def unet() -> tuple[nn.Module, Condition | None]:
    return UNet2DModel(
        sample_size=8, in_channels=2, out_channels=2, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4,
        down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2, add_attention=False,
    ), None  # fmt: skip


def text_unet() -> tuple[nn.Module, Condition | None]:
    network = UNet2DConditionModel(
        sample_size=8, in_channels=2, out_channels=2, block_out_channels=(8, 16), layers_per_block=1, cross_attention_dim=16,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        norm_num_groups=4, attention_head_dim=4,
    )  # fmt: skip
    text = torch.randn(1, 3, 16)
    return network, Condition({"encoder_hidden_states": text}, {"encoder_hidden_states": text.flip(1)}, ["x"])


def sd3() -> tuple[nn.Module, Condition | None]:
    network = SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=2, out_channels=2, num_layers=2, attention_head_dim=4, num_attention_heads=4,
        joint_attention_dim=32, caption_projection_dim=16, pooled_projection_dim=24, pos_embed_max_size=8,
    )  # fmt: skip
    return network, Condition({"encoder_hidden_states": torch.randn(1, 3, 32), "pooled_projections": torch.randn(1, 24)})


def dit() -> tuple[nn.Module, Condition | None]:
    network = DiTTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=2, out_channels=2, num_layers=2, sample_size=8, patch_size=2,
        num_embeds_ada_norm=3, norm_num_groups=4,
    )  # fmt: skip
    return network, Condition({"class_labels": torch.tensor([1])}, {"class_labels": torch.tensor([3])})


NETWORKS = {"UNet2DModel": unet, "UNet2DConditionModel": text_unet, "SD3Transformer2DModel": sd3, "DiTTransformer2DModel": dit}


@pytest.fixture(params=NETWORKS)
def network(request) -> tuple[nn.Module, Condition | None]:
    torch.manual_seed(0)
    made, condition = NETWORKS[request.param]()
    for parameter in made.parameters():  # some last layers start at zero, behind which nothing could be seen
        if not parameter.any():
            nn.init.normal_(parameter, std=0.05)
    return made.eval(), condition


def trained(network: nn.Module, condition: Condition | None) -> Predictor:
    predictor = Predictor(network, condition, 2.0 if condition is not None and condition.has_unconditional else 1.0)
    predictor.condition_on(LOW, HIGH, seed=1)
    assert predictor.conditioning is not None
    for weight in predictor.conditioning.heads.parameters():
        nn.init.normal_(weight, std=0.3)
    return predictor.eval()


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(1)
    return torch.randn(3, 2, 8, 8, generator=source), torch.tensor([0, 10, 40])


@torch.no_grad()
def test_it_starts_as_the_network_that_it_was(network):
    (x, t), plain = batch(), Predictor(*network)
    before = plain(x, t)
    plain.condition_on(LOW, HIGH, seed=1)
    assert torch.equal(plain(x, t, multipliers=torch.rand(3, 2)), before)


@torch.no_grad()
def test_without_multipliers_it_stays_the_network_alone(network):
    (x, t), alone = batch(), Predictor(copy.deepcopy(network[0]), network[1])
    predictor = trained(*network)
    assert torch.equal(predictor(x, t), alone(x, t))
    assert not torch.allclose(predictor(x, t, multipliers=torch.ones(1, 2)), alone(x, t), atol=1e-3)


@torch.no_grad()
def test_each_sample_has_its_own_multipliers_under_guidance_too(network):
    (x, t), predictor = batch(), trained(*network)
    multipliers = torch.tensor([[0.0, 0.0], [3.0, 0.1], [0.2, 2.0]])
    for ask in (predictor.__call__, predictor.guided):
        together = ask(x, t, multipliers=multipliers)
        apart = [ask(x[k : k + 1], t[k : k + 1], multipliers=multipliers[k : k + 1]) for k in range(3)]
        assert torch.allclose(together, torch.cat(apart), atol=1e-5)
        predictor.at(multipliers[1].numpy())
        assert torch.allclose(ask(x[1:2], t[1:2]), apart[1], atol=1e-5)


@torch.no_grad()
def test_bound_to_multipliers_it_is_a_plain_network(network):
    (x, t), predictor = batch(), None
    plain = copy.deepcopy(network[0])
    before = [each.bias for each in places(plain)]
    kept = [each.clone() for each in before]
    predictor = trained(*network)
    wanted = predictor(x, t, multipliers=torch.tensor([[0.3, 1.5]]))
    assert predictor.conditioning is not None
    bind(plain, predictor.conditioning.state_dict(), LOW, HIGH, np.array([0.3, 1.5]))
    assert torch.allclose(Predictor(plain, network[1])(x, t), wanted, atol=1e-5)
    assert all(torch.equal(old, same) for old, same in zip(before, kept, strict=True))  # who shares the old tensors keeps them


def test_what_is_stored_is_put_back(network):
    predictor = trained(copy.deepcopy(network[0]), network[1])
    other = Predictor(copy.deepcopy(network[0]), network[1])
    other.condition_on(LOW, HIGH, seed=2)
    other.eval().put_back(predictor.stored())
    x, t = batch()
    assert torch.equal(other(x, t, multipliers=torch.ones(1, 2)), predictor(x, t, multipliers=torch.ones(1, 2)))
    assert of_network(predictor.stored()).keys() == network[0].state_dict().keys()


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layer(x)
        return found


class Taking(Plain):
    def forward(self, x: torch.Tensor, t: torch.Tensor, multipliers: torch.Tensor | None = None) -> torch.Tensor:
        found: torch.Tensor = self.layer(x)
        return found if multipliers is None else found + multipliers


def test_a_module_may_take_multipliers_itself_and_one_without_a_time_embedding_must():
    x, t = torch.randn(4, 2), torch.zeros(4, dtype=torch.int64)
    taking = Predictor(Taking())
    plain = taking(x, t)
    taking.condition_on(LOW, HIGH, seed=0)
    assert torch.equal(taking(x, t), plain)
    assert torch.allclose(taking.at(np.array([1.0, 2.0]))(x, t), plain + torch.tensor([1.0, 2.0]))
    with pytest.raises(TrainingError, match="must have a TimestepEmbedding of diffusers, or take a third argument `multipliers`"):
        Predictor(Plain()).condition_on(LOW, HIGH, seed=0)
    with pytest.raises(TrainingError, match="must be amortised once"):
        taking.condition_on(LOW, HIGH, seed=0)
