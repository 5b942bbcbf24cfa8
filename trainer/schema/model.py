"""The model and its noise schedule, as a recipe names them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from trainer.schema.base import Count, Fraction, ImportPath, Section


class UNet(Section):
    """A diffusers `UNet2DModel` built from the recipe, with random weights."""

    channels: list[Count] = Field([16, 32], min_length=1, description="channels of each resolution", examples=["[16, 32]"])
    layers_per_block: Count = Field(1, description="residual layers in each block", examples=["1"])
    attention: bool = Field(False, description="true for self-attention at the lowest resolution", examples=["true"])
    norm_groups: Count = Field(
        8, description="groups of the group normalisation, a divisor of every channel count", examples=["8"]
    )
    dropout: Fraction = Field(0.0, description="dropout rate", examples=["0.1"])

    @model_validator(mode="after")
    def _divides(self) -> Self:
        for channels in self.channels:
            if channels % self.norm_groups:
                raise ValueError(
                    f"`norm_groups` must divide every entry of channels, but got {self.norm_groups} for {channels}; "
                    f"write channels as multiples of {self.norm_groups}, or another norm_groups"
                )
        return self


class Model(Section):
    """The noise predictor: exactly one of `unet`, `load` and `call`."""

    unet: UNet | None = Field(None, description="a UNet2DModel to build", examples=["{channels: [16, 32]}"])
    load: str | None = Field(
        None, description="a local directory or hub id of a diffusers UNet2DModel or of a pipeline that holds one",
        examples=["google/ddpm-cifar10-32"],
    )  # fmt: skip
    call: ImportPath | None = Field(
        None, description="the import path of a function `() -> nn.Module` whose result is called with (x, t)",
        examples=["my_models:build"],
    )  # fmt: skip

    shape: list[Count] | None = Field(
        None,
        min_length=1,
        description="the shape of a sample, where there is no data and the model doesn't tell",
        examples=["[2]"],
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        self.exactly_one("unet", "load", "call")
        return self


class Schedule(Section):
    """The noise schedule, a diffusers `DDPMScheduler`; left out with `model.load`, it is the loaded model's."""

    name: Literal["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"] = Field(
        "squaredcos_cap_v2", description="the schedule of beta, by its diffusers name", examples=["squaredcos_cap_v2"]
    )
    timesteps: Annotated[int, Field(ge=2)] = Field(200, description="diffusion steps T", examples=["200"])
    prediction: Literal["epsilon", "v_prediction"] = Field("epsilon", description="what the model predicts", examples=["epsilon"])
