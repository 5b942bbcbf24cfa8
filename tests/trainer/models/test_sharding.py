"""A network in shards is the network: the same predictions and gradients, and each worker holds its part of the weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import DiTTransformer2DModel, SD3Transformer2DModel, UNet2DConditionModel, UNet2DModel
from torch import Tensor, distributed, nn

from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.models.predictor import Condition, Predictor
from dualsweep.trainer.models.sharding import check_asked, own_shard, place, skeleton, whole, with_weights
from tests.trainer.engine.in_group import CPU, in_group
from tests.trainer.recipes import digits

SIZES: dict[str, Any] = {"sample_size": 8, "in_channels": 1, "out_channels": 1}
UNET: dict[str, Any] = {**SIZES, "block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4}
BLOCKS: dict[str, Any] = {**SIZES, "num_layers": 3, "num_attention_heads": 2, "attention_head_dim": 8, "patch_size": 2}
WORLD = 2


class Tied(nn.Module):
    """One weight in two places, and one that not every worker has a row of."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.scale = nn.Linear(64, 64), nn.Linear(64, 64), nn.Parameter(torch.ones(1))
        self.second.weight = self.first.weight

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        hidden: Tensor = self.second(self.first(x.flatten(1)).tanh())
        return self.scale * hidden.view_as(x)


def unet() -> Predictor:
    down, up = ("DownBlock2D", "AttnDownBlock2D"), ("AttnUpBlock2D", "UpBlock2D")
    return Predictor(UNet2DModel(**UNET, down_block_types=down, up_block_types=up))


def of_text() -> Predictor:
    down, up = ("DownBlock2D", "CrossAttnDownBlock2D"), ("CrossAttnUpBlock2D", "UpBlock2D")
    network = UNet2DConditionModel(
        **UNET, cross_attention_dim=8, attention_head_dim=4, down_block_types=down, up_block_types=up
    )  # fmt: skip
    return Predictor(network, Condition({"encoder_hidden_states": torch.ones(1, 3, 8)}))


def dit() -> Predictor:
    network = DiTTransformer2DModel(**BLOCKS, num_embeds_ada_norm=20, norm_num_groups=4)
    return Predictor(network, Condition({"class_labels": torch.zeros(1, dtype=torch.int64)}))


def sd3() -> Predictor:
    network = SD3Transformer2DModel(
        **BLOCKS, joint_attention_dim=8, caption_projection_dim=16, pooled_projection_dim=8, pos_embed_max_size=8
    )
    given = {"encoder_hidden_states": torch.ones(1, 3, 8), "pooled_projections": torch.ones(1, 8)}
    return Predictor(network, Condition(given))


NETWORKS: dict[str, Callable[[], Predictor]] = {
    "unet": unet, "of text": of_text, "dit": dit, "sd3": sd3, "tied": lambda: Predictor(Tied()),
}  # fmt: skip


def made(name: str) -> Predictor:
    """Without zeros, which networks begin with here and there: with them some weights would have no gradient."""
    torch.manual_seed(0)
    predictor = NETWORKS[name]().eval()  # DiT drops classes by chance while it is trained
    with torch.no_grad():
        for each in predictor.parameters():
            each.add_(0.05 * torch.randn(each.shape))
    return predictor


def loss(predictor: Predictor, x: Tensor) -> Tensor:
    """Through two passes, as along a trajectory."""
    for time in (11, 3):
        x = x - 0.3 * predictor(x, torch.full((len(x),), time))
    return x.square().mean()


def compared(name: str) -> dict[str, Any]:
    """The network in shards beside the whole one, in one worker of several."""
    alone, several, rank = made(name), made(name), distributed.get_rank()
    bare = skeleton(several)
    place(several, CPU, digits(resources={"workers": WORLD, "parallel": "fsdp"}))
    x = torch.randn(2 * WORLD, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    loss(alone, x).backward()
    loss(several, x[2 * rank : 2 * rank + 2]).backward()
    pairs: list[Any] = list(zip(several.parameters(), alone.parameters(), strict=True))
    own = sum(each.to_local().numel() for each, _ in pairs)
    gradients = [(whole(each.grad.to_local(), each), other.grad) for each, other in pairs]
    wrong = [float((each - other).abs().max()) for each, other in gradients if not each.is_meta]
    with torch.no_grad():  # other weights after a pass, as where averages are put in place, and put together again
        away = float((loss(several, x) - loss(alone, x)).abs())
        for each, other in pairs:
            other.mul_(1.1)
            each.to_local().copy_(own_shard(other, each))
        away = max(away, float((loss(several, x) - loss(alone, x)).abs()))
    names = [each for each, _ in several.named_parameters()]
    weights = {each: whole(value.to_local(), value) for each, (value, _) in zip(names, pairs, strict=True)}
    if not rank:
        again = with_weights(bare, weights, dict(several.named_buffers()))
        away = max(away, float((loss(again, x) - loss(alone, x)).abs()))
    scale = max(float(other.grad.abs().max()) for _, other in pairs)
    return {"gradient": max(wrong, default=0.0) / scale, "prediction": away, "own": own,
            "all": sum(each.numel() for each in alone.parameters())}  # fmt: skip


class Beside(nn.Module):
    """Reads a layer's weight without calling the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 64)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return (x.flatten(1) @ self.layer.weight).view_as(x)


class Number(nn.Module):
    """Has a weight without a dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.scale * x


def refused(kind: type[nn.Module]) -> str:
    """What is said of it."""
    recipe = digits(resources={"workers": WORLD, "parallel": "fsdp"})
    try:
        check_asked(place(Predictor(kind()), CPU, recipe), (1, 8, 8))
    except TrainingError as error:
        return str(error)
    return ""


def everything() -> dict[str, Any]:
    return {**{name: compared(name) for name in NETWORKS}, "number": refused(Number), "beside": refused(Beside)}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return in_group(WORLD, tmp_path_factory.mktemp("group") / "of", everything)


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_and_predictions_are_those_of_the_whole_network(name: str, found: list[dict[str, Any]]) -> None:
    for each in found:
        assert each[name]["gradient"] < 1e-4 and each[name]["prediction"] < 1e-6


@pytest.mark.parametrize("name", NETWORKS)
def test_each_worker_holds_its_part(name: str, found: list[dict[str, Any]]) -> None:
    parts = [each[name]["own"] for each in found]
    assert sum(parts) == found[0][name]["all"] and max(parts) < 0.6 * sum(parts)


def test_a_weight_that_is_a_number_is_refused(found: list[dict[str, Any]]) -> None:
    for each in found:
        assert each["number"].startswith("with resources.parallel: fsdp a network's weights must have a dimension")
        assert "got scale, a single number; make it one of shape [1]" in each["number"]


def test_a_network_that_reads_weights_without_calling_what_has_them_is_refused(found: list[dict[str, Any]]) -> None:
    for each in found:
        assert each["beside"].startswith("with resources.parallel: fsdp a network's parts must be called")
        assert "mixed torch.Tensor and DTensor" in each["beside"] and each["beside"].endswith("or write parallel: ddp")
