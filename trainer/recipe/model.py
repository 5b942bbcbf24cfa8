"""The model and its noise schedule, as a recipe names them."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, FiniteFloat, ValidationInfo, WithJsonSchema, model_validator

from dualsweep.trainer.config.diagnostics import RuleError
from dualsweep.trainer.config.wording import show
from dualsweep.trainer.config.yaml_core import decoded
from dualsweep.trainer.recipe.base import Count, Fraction, ImportPath, Name, NotNegative, Positive, Section
from dualsweep.trainer.recipe.compose import Compose
from dualsweep.trainer.recipe.own_part import is_stored
from dualsweep.trainer.storage import local_path


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
                raise RuleError(
                    "norm_groups",
                    "must divide every entry of channels",
                    f"{self.norm_groups} for {channels}",
                    f"write channels as multiples of {self.norm_groups}, or another norm_groups",
                )
        return self


def _lines(value: Any, info: ValidationInfo) -> Any:
    """The lines of the file that a text names, without empty ones; anything else as it is.

    No file is read for a recipe that a run has stored: we store the list, so a text there is somebody else's.
    """
    if not isinstance(value, str):
        return value
    if is_stored(info):
        raise RuleError("", "must be a list of texts in the recipe of a run", show(value), "write the texts themselves")
    try:
        # Not by splitlines: a text may hold other separators, as U+2028.
        lines = re.split("\r\n|\r|\n", decoded(local_path(value).read_bytes()))
    except (OSError, ValueError) as error:
        raise RuleError(
            "",
            "must be a list of texts, or a file of one a line",
            f"{show(value)} ({error})",
            f"write [{show(value)}] for a text",
        ) from None
    return [line.strip() for line in lines if line.strip()]


def _at_home(place: str) -> str:
    """What begins with `~` or `file:` as a path, which is all that diffusers knows."""
    return str(local_path(place)) if place.startswith("~") or place.lower().startswith("file:") else place


Place = Annotated[str, AfterValidator(_at_home)]
Text = Annotated[str, Field(min_length=1)]
Texts = Annotated[
    Annotated[list[Text], Field(min_length=1)],
    BeforeValidator(_lines),
    WithJsonSchema(
        {"anyOf": [{"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1}, {"type": "string"}]}
    ),
]
"""Texts as a list, or read from a file of one a line when the recipe is; what is stored is the list."""


class Lora(Section):
    """A low-rank adapter (Hu et al. 2021, arXiv 2106.09685): W + alpha/rank B A, of which A and B alone are trained."""

    rank: Count = Field(4, description="the rank of the adapter", examples=["4"])
    alpha: Positive = Field(4.0, description="its scale is alpha / rank", examples=["4.0"])
    targets: list[str] = Field(
        ["to_q", "to_k", "to_v", "to_out.0"], min_length=1, description="the ends of the names of the layers that it adapts",
        examples=["[to_q, to_v]"],
    )  # fmt: skip


class Model(Section):
    """The noise predictor: exactly one of `unet`, `load`, `call` and `compose`."""

    unet: UNet | None = Field(None, description="a UNet2DModel to build", examples=["{channels: [16, 32]}"])
    load: Place | None = Field(
        None,
        description="a run's output or checkpoint of ours (a folder or URI), or a local directory or hub id of a diffusers model "
        "or pipeline (docs/models.md)",
        examples=["google/ddpm-cifar10-32"],
    )
    call: ImportPath | None = Field(
        None, description="the import path of a function `() -> nn.Module` whose result is called with (x, t)",
        examples=["my_models:build"],
    )  # fmt: skip
    compose: Compose | None = Field(
        None,
        description="entries of `models` to compose, with nothing to train; in `model` alone",
        examples=["{of: [apple, pear]}"],
    )
    prompt: str | None = Field(None, description="the text that a text-to-image model is given", examples=["a red apple"])
    prompts: Texts | None = Field(
        None,
        description="several such texts, or a file of one a line; each sample has one of them, drawn in training and in turn in "
        "evaluation",
        examples=["[a red apple, a pear]"],
    )
    negative_prompt: str | None = Field(
        None, description="what guidance leads away from; what the pipeline takes for no text unless given", examples=["blurry"]
    )
    label: Annotated[int, Field(ge=0)] | None = Field(
        None, description="the class that a class-conditional model is given", examples=["207"]
    )
    condition: Literal["labels", "captions"] | None = Field(
        None,
        description="`labels`: the network is given the class of every example that it is trained on; samples have the classes "
        "in turn. With `call` the network takes `class_labels` [B], the number of a class, or that of the classes for none. "
        "`captions`: a text-to-image model is given the caption of every example (`data.captions`); samples have them in turn",
        examples=["labels"],
    )
    guidance: NotNegative | None = Field(
        None, description="the scale of classifier-free guidance in sampling; 1 or none is without", examples=["5.0"]
    )
    lora: Lora | Place | None = Field(
        None,
        description="a new adapter to train in place of the model's own weights, or where a trained one lies "
        "(a run's output, a checkpoint or diffusers' LoRA files)",
        examples=["{rank: 4}"],
    )
    multipliers: dict[Name, NotNegative] | None = Field(
        None, description="of an amortised run the multipliers at which it is taken; a constraint that is left out has 0",
        examples=["{four: 0.3}"],
    )  # fmt: skip
    shape: list[Count] | None = Field(
        None,
        min_length=1,
        description="the shape of a sample, where there is no data and the model doesn't tell",
        examples=["[2]"],
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        self.exactly_one("unet", "load", "call", "compose")
        return self

    @model_validator(mode="after")
    def _of_loaded_models_alone(self) -> Self:
        kind = next(word for word in ("unet", "load", "call", "compose") if getattr(self, word) is not None)
        for key in ("prompt", "prompts", "negative_prompt", "label", "guidance", "lora", "multipliers"):
            given = key == "guidance" and self.condition == "labels"
            if getattr(self, key) is not None and self.load is None and not given:
                also = ", or write condition: labels" if key == "guidance" and self.unet is not None else ""
                remedy = f"drop it, or load a model that takes it{also}"
                raise RuleError(key, "must go with `load`", f"it beside `{kind}`", remedy)
        if self.condition == "captions" and self.load is None:
            remedy = "load a text-to-image model, or write condition: labels"
            raise RuleError("condition", "must go with `load` where it is captions", "it without", remedy)
        if self.condition is not None and self.compose is not None:
            raise RuleError("condition", "must go with one network", "it beside `compose`", "write it in the entries of `models`")
        conditions = [key for key in ("prompt", "prompts", "label", "condition") if getattr(self, key) is not None]
        if len(conditions) > 1:
            first, second = conditions[:2]
            raise RuleError(second, f"must not stand beside `{first}`", "both", "keep the one that the model takes")
        return self

    @property
    def texts(self) -> tuple[str, ...]:
        """The prompts that are written here, one or several."""
        return tuple(self.prompts or ([self.prompt] if self.prompt is not None else []))


#: The keys of `name: edm`, with the paper's values (Karras et al. 2022, arXiv 2206.00364, Table 1).
EDM = {"sigma_min": 0.002, "sigma_max": 80.0, "rho": 7.0, "sigma_data": 0.5, "p_mean": -1.2, "p_std": 1.2}


class Schedule(Section):
    """The noise schedule, a diffusers `DDPMScheduler`; left out with `model.load`, it is the loaded model's."""

    name: Literal["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "edm"] | None = Field(
        None, description="the schedule of beta, by its diffusers name, squaredcos_cap_v2 unless given; or `edm`: levels of "
        "sigma, and a network with the preconditioning of Karras et al. 2022 (docs/models.md)",
        examples=["squaredcos_cap_v2"],
    )  # fmt: skip
    timesteps: Annotated[int, Field(ge=2)] = Field(200, description="diffusion steps T", examples=["200"])
    prediction: Literal["epsilon", "v_prediction", "flow"] = Field(
        "epsilon",
        description="what the model predicts: the noise, v, or with `flow` the velocity noise - x of the linear path "
        "(1 - s) x + s noise, asked at T s",
        examples=["epsilon"],
    )
    shift: Positive | None = Field(
        None,
        description="for flow: s becomes shift s / (1 + (shift - 1) s), more noise above 1; 1 unless given",
        examples=["3.0"],
    )

    sigma_min: Positive | None = Field(None, description="for edm: the finest level; 0.002 unless given", examples=["0.002"])
    sigma_max: Positive | None = Field(None, description="for edm: the noisiest level; 80 unless given", examples=["80.0"])
    rho: Positive | None = Field(
        None, description="for edm: levels are evenly spaced in the rho-th root of sigma; 7 unless given", examples=["7.0"]
    )
    sigma_data: Positive | None = Field(
        None, description="for edm: the standard deviation of the data, by which the network is preconditioned; 0.5 unless given",
        examples=["0.5"],
    )  # fmt: skip
    p_mean: FiniteFloat | None = Field(
        None, description="for edm: the mean of ln sigma in training; -1.2 unless given", examples=["-1.2"]
    )
    p_std: Positive | None = Field(
        None, description="for edm: the standard deviation of ln sigma in training; 1.2 unless given", examples=["1.2"]
    )

    @property
    def edm(self) -> dict[str, float]:
        """The keys of `name: edm`, with the paper's where none is given."""
        return {key: value if (value := getattr(self, key)) is not None else other for key, other in EDM.items()}

    @model_validator(mode="after")
    def _edm_has_levels_of_its_own(self) -> Self:
        if self.name != "edm":
            for key in EDM:
                if getattr(self, key) is not None:
                    raise RuleError(key, "must go with name edm", f"{getattr(self, key)} with {self.name or 'none'}", "drop it")
        elif self.prediction != "epsilon":
            rule, received = "must be left out with name edm, whose network has a prediction of its own", self.prediction
            raise RuleError("prediction", rule, received, "drop it")
        elif self.edm["sigma_min"] >= self.edm["sigma_max"]:
            low, high = self.edm["sigma_min"], self.edm["sigma_max"]
            raise RuleError("sigma_max", "must be above sigma_min", f"{high:g} with {low:g}", "raise it, or lower sigma_min")
        return self

    @model_validator(mode="after")
    def _flow_has_no_betas(self) -> Self:
        flow = self.prediction == "flow"
        for key, wrong in (("name", flow), ("shift", not flow)):
            if wrong and getattr(self, key) is not None:
                kind = "a schedule of beta" if key == "name" else "prediction flow"
                raise RuleError(key, f"must go with {kind}", f"{getattr(self, key)} with prediction {self.prediction}", "drop it")
        return self
