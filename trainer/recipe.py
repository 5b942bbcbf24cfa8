"""The recipe: one constrained training as a user writes it. Strict, typed, checked before anything heavy is imported.

Each part owns its section; the text under a field is what errors and the guide show.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$", max_length=60)]
Positive = Annotated[FiniteFloat, Field(gt=0)]
NotNegative = Annotated[FiniteFloat, Field(ge=0)]
Fraction = Annotated[FiniteFloat, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
ImportPath = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")]
ClassName = int | str


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class Section(BaseModel):
    """Strict: no unknown keys, no silent conversions, frozen once read."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    def exactly_one(self, *names: str) -> None:
        """Raises ValueError unless exactly one of the named keys is given."""
        given = [name for name in names if getattr(self, name) is not None]
        if len(given) != 1:
            keys = ", ".join(f"`{name}`" for name in names)
            found = " and ".join(f"`{name}`" for name in given) or "none of them"
            raise ValueError(f"must hold exactly one of {keys}, but got {found}; keep one")


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


class Data(Section):
    """The training data, the distribution q of the objective: exactly one of `source`, `folder`, `dataset` and `call`."""

    source: Literal["digits"] | None = Field(None, description="a packaged data set", examples=["digits"])
    folder: str | None = Field(None, description="a folder of images, with one sub-folder for each class", examples=["images/"])
    dataset: str | None = Field(None, description="a Hugging Face datasets id, or a local path of one", examples=["ylecun/mnist"])
    call: ImportPath | None = Field(
        None,
        description="the import path of a function `() -> Dataset` of x or (x, label), x in [-1, 1]",
        examples=["my_data:load"],
    )
    split: str = Field("train", description="the split of `dataset`", examples=["train"])
    image_column: str = Field("image", description="the column of `dataset` that holds the image", examples=["image"])
    label_column: str | None = Field(None, description="the column of `dataset` that holds the class", examples=["label"])
    size: Count | None = Field(None, description="the side, in pixels, to which images are resized and cropped", examples=["32"])
    grey: bool = Field(False, description="true to read images as one channel", examples=["true"])
    keep: dict[ClassName, Fraction] = Field({}, description="the share of each class that is kept", examples=["{4: 0.1}"])
    holdout: Annotated[FiniteFloat, Field(ge=0, lt=1)] = Field(
        0.0, description="the share of every class that is never trained on", examples=["0.1"]
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        self.exactly_one("source", "folder", "dataset", "call")
        return self

    @model_validator(mode="after")
    def _goes_with_its_source(self) -> Self:
        columns, images = {"split": "train", "image_column": "image", "label_column": None}, {"size": None, "grey": False}
        for sources, defaults in ((("dataset",), columns), (("folder", "dataset"), images)):
            for name, default in defaults.items():
                given = getattr(self, name)
                if given != default and all(getattr(self, source) is None for source in sources):
                    places = " or ".join(f"`{source}`" for source in sources)
                    raise ValueError(f"`{name}` must go with {places}, but got {given!r}; remove it")
        return self


class Subset(Section):
    """The data of a constraint, q_i: exactly one of `classes`, `indices` and `call`."""

    classes: list[ClassName] | None = Field(None, min_length=1, description="classes of the data", examples=["[4]"])
    indices: list[Annotated[int, Field(ge=0)]] | None = Field(
        None, min_length=1, description="positions in the data set, as it is before `keep`", examples=["[0, 5, 9]"]
    )
    call: ImportPath | None = Field(
        None,
        description="the import path of a function `() -> Dataset`, or `(labels) -> mask or indices` over the data set",
        examples=["my_data:rare"],
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        self.exactly_one("classes", "indices", "call")
        return self


class Constraint(Section):
    """One requirement g_i <= b_i."""

    name: Name = Field(description="a name of letters, digits, `_` and `-`", examples=["four"])
    data: Subset = Field(description="the data whose expected loss is bounded", examples=["{classes: [4]}"])
    at_most: FiniteFloat = Field(description="the budget b, a finite number", examples=["0.12"])
    relative_to: Literal["objective"] | None = Field(
        None, description="`objective` to bound g - f instead of g: no worse than the data at large, by at most b",
        examples=["objective"],
    )  # fmt: skip

    @model_validator(mode="after")
    def _free_name(self) -> Self:
        if self.name == "max":
            raise ValueError(
                "`name` must not be a reserved word, but got 'max'; `value/max` is the largest value: write another name"
            )
        return self


class Dual(Section):
    """How the multipliers move (method.md §3)."""

    rule: Literal["ascent", "nu_pi", "fixed"] = Field("ascent", description="the dual rule", examples=["ascent"])
    step_size: Positive = Field(0.03, description="the dual step size: eta of ascent, kappa_i of nu_pi", examples=["0.03"])
    kappa_p: NotNegative = Field(0.0, description="the proportional gain of nu_pi", examples=["1.0"])
    nu: Annotated[FiniteFloat, Field(ge=0, lt=1)] = Field(0.0, description="the averaging coefficient of nu_pi", examples=["0.9"])
    gain_warmup: Annotated[int, Field(ge=0)] = Field(
        0, description="dual steps over which the gains grow linearly from zero", examples=["100"]
    )
    decay: Literal["none", "linear", "cosine"] = Field(
        "none", description="how the step size falls to zero over the run", examples=["cosine"]
    )
    start: NotNegative | dict[Name, NotNegative] = Field(
        0.0, description="the first multipliers: one number, or one for each constraint", examples=["0.1"]
    )
    every: Count = Field(1, description="primal steps for each dual step", examples=["5"])
    warmup: Annotated[int, Field(ge=0)] = Field(0, description="primal steps during which the multipliers stay", examples=["300"])
    cap: Positive = Field(10.0, description="the largest multiplier; there, with its constraint violated, a run is infeasible",
                          examples=["10.0"])  # fmt: skip
    average: Annotated[FiniteFloat, Field(ge=0, lt=1)] = Field(
        0.0, description="the coefficient of the exponential average over slacks; 0 for none", examples=["0.9"]
    )
    staleness: Literal[0, 1] = Field(
        1, description="primal steps by which the multipliers in use lag: 0 waits, 1 overlaps the dual step", examples=["1"]
    )
    patience: Count = Field(
        50, description="dual steps at the cap, still violated, after which a run ends as infeasible", examples=["50"]
    )


class Train(Section):
    """The primal: optimiser, length, precision."""

    steps: Count = Field(description="primal steps", examples=["1500"])
    batch_size: Count = Field(64, description="samples of a global batch, over all workers", examples=["64"])
    lr: Positive = Field(1e-3, description="learning rate of AdamW", examples=["2.0e-3"])
    lr_schedule: Literal["constant", "cosine", "wsd"] = Field(
        "constant", description="how the learning rate falls; `wsd`: warm-up, stable, then linear decay", examples=["wsd"]
    )
    lr_cooldown: Annotated[FiniteFloat, Field(gt=0, le=1)] = Field(
        0.4, description="the last share of the run over which the rate of `wsd` falls, to 2 % of it", examples=["0.4"]
    )
    lr_warmup: Annotated[int, Field(ge=0)] = Field(0, description="steps over which the learning rate rises", examples=["100"])
    weight_decay: NotNegative = Field(0.0, description="weight decay of AdamW", examples=["0.01"])
    clip: Positive | None = Field(1.0, description="the largest norm of the gradient, or null", examples=["1.0"])
    ema: Annotated[FiniteFloat, Field(ge=0, lt=1)] = Field(0.995, description="decay of the averaged weights", examples=["0.995"])
    loss_weight: Literal["simple", "min_snr"] = Field("simple", description="the weight of each timestep", examples=["simple"])
    batches: Literal["mixture", "separate"] = Field(
        "mixture", description="`mixture`: one batch from the mixture over all distributions; `separate`: one batch for each",
        examples=["mixture"],
    )  # fmt: skip
    floor: Count = Field(2, description="samples that each constraint has in every mixture batch, at least", examples=["2"])
    constraint_batch: Count = Field(
        16, description="samples of each constraint's batch with `batches: separate`", examples=["16"]
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="the precision of the forward pass; `auto`: bf16 where the GPU has it", examples=["auto"]
    )
    log_every: Count = Field(10, description="primal steps between two points of the metrics", examples=["10"])


class Judge(Section):
    """What classifies and embeds samples: a small network trained on all the data, or a user's own."""

    call: ImportPath | None = Field(
        None,
        description="the import path of a function `() -> judge` with features(x) and probabilities(x)",
        examples=["my:judge"],
    )
    epochs: Count = Field(30, description="passes over the data when the judge is trained", examples=["30"])
    features: Count = Field(64, description="width of the feature space", examples=["64"])


class Evaluation(Section):
    """What is measured at the end, with the averaged weights."""

    samples: Annotated[int, Field(ge=0)] = Field(500, description="images to sample; 0 for none", examples=["1000"])
    sampler: Literal["ddim", "ddpm"] = Field("ddim", description="the sampler", examples=["ddim"])
    sample_steps: Count = Field(50, description="steps of the sampler", examples=["50"])
    batch_size: Count = Field(250, description="images sampled at a time by one worker", examples=["250"])
    loss_draws: Count = Field(2048, description="draws of (x, t, noise) for each final value", examples=["4096"])
    metrics: list[Literal["class_shares", "frechet", "copying"] | ImportPath] = Field(
        ["class_shares", "frechet", "copying"],
        description="metrics of the samples: shipped names, or import paths of functions `(Evidence) -> dict of floats`",
        examples=["[class_shares, frechet]"],
    )
    judge: Judge = Field(Judge(), description="the judge", examples=["{epochs: 30}"])
    grid: Annotated[int, Field(ge=0)] = Field(64, description="samples in the sample grid", examples=["64"])


class Resources(Section):
    """What one trial takes."""

    workers: Count = Field(1, description="Ray Train workers of a trial", examples=["2"])
    cpus_per_worker: Count = Field(1, description="CPUs of a worker", examples=["1"])
    gpus_per_worker: NotNegative = Field(0.0, description="GPUs of a worker", examples=["1"])
    retries: Annotated[int, Field(ge=0)] = Field(
        2, description="times a trial whose worker died is started again", examples=["2"]
    )


class Checkpoint(Section):
    """When a run is saved, as one unit."""

    every: Count = Field(500, description="primal steps between checkpoints (rounded up to a dual step)", examples=["500"])
    keep: Count = Field(1, description="checkpoints kept", examples=["2"])
    to: str | None = Field(
        None, description="a folder or fsspec URI; the output folder when left out", examples=["s3://bucket/run"]
    )


class Recipe(Section):
    """One constrained training."""

    name: Name = Field(description="a name of letters, digits, `_` and `-`", examples=["digits-minority"])
    formulation: Literal["constrained_training"] = Field(description="the formulation", examples=["constrained_training"])
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(0, description="the seed of every random draw", examples=["0"])
    model: Model = Field(description="the model", examples=["{unet: {channels: [16, 32]}}"])
    schedule: Schedule | None = Field(None, description="the noise schedule", examples=["{timesteps: 200}"])
    data: Data = Field(description="the training data", examples=["{source: digits}"])
    constraints: list[Constraint] = Field([], description="the constraints", examples=["[{name: four, data: …, at_most: 0.12}]"])
    dual: Dual = Field(Dual(), description="how the multipliers move", examples=["{step_size: 0.03}"])
    train: Train = Field(description="the primal", examples=["{steps: 1500}"])
    evaluation: Evaluation = Field(Evaluation(), description="what is measured at the end", examples=["{samples: 1000}"])
    resources: Resources = Field(Resources(), description="what one trial takes", examples=["{workers: 1}"])
    checkpoint: Checkpoint = Field(Checkpoint(), description="when a run is saved", examples=["{every: 500}"])

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [constraint.name for constraint in self.constraints]
        for position, name in enumerate(names):
            if name in names[:position]:
                raise ValueError(f"`constraints.{position}.name` must be unique, but got '{name}' twice; rename one")
        if isinstance(self.dual.start, dict) and set(self.dual.start) != set(names):
            raise ValueError(
                f"`dual.start` must name every constraint, but got {sorted(self.dual.start)}; "
                f"write one number, or one for each of {names}"
            )
        self._batch_and_steps_fit(len(names))
        return self

    def _batch_and_steps_fit(self, constraints: int) -> None:
        needed = 1 + constraints * self.train.floor
        if self.train.batches == "mixture" and self.train.batch_size < needed:
            raise ValueError(
                f"`train.batch_size` must be at least 1 + constraints x floor = {needed}, but got {self.train.batch_size}; "
                "enlarge the batch, or lower train.floor"
            )
        if self.train.steps % self.dual.every:
            raise ValueError(
                f"`train.steps` must be a multiple of dual.every, but got {self.train.steps} with every {self.dual.every}; "
                f"write {-(-self.train.steps // self.dual.every) * self.dual.every}"
            )
        if self.train.batch_size < self.resources.workers:
            raise ValueError(
                f"`train.batch_size` must be at least one sample for each worker, but got {self.train.batch_size} for "
                f"{self.resources.workers} workers; enlarge the batch"
            )


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """A recipe (or a part of one) as dotted keys; constraints by their names: `constraints.four.at_most`."""
    if isinstance(value, BaseModel):
        value = {name: getattr(value, name) for name in type(value).model_fields}
    if isinstance(value, list) and value and all(isinstance(each, BaseModel) and hasattr(each, "name") for each in value):
        value = {each.name: each for each in value}
    if isinstance(value, dict) and value:
        flat: dict[str, Any] = {}
        for key, below in value.items():
            flat.update(flatten(below, f"{prefix}.{key}" if prefix else str(key)))
        return flat
    return {prefix: value}
