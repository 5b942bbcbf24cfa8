"""The prompts of a text-to-image model, embedded by the pipeline of diffusers that its network belongs to.

Pipelines bring transformers along: diffusers imports them where they are first named.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
from collections.abc import Iterator, Sequence
from functools import partial
from pickle import UnpicklingError
from typing import Any

import diffusers
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from dualsweep.trainer.checks.model_files import unsupported
from dualsweep.trainer.config.wording import first_line
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.memory import ran_out
from dualsweep.trainer.models.kinds import is_a
from dualsweep.trainer.models.latent_cache import FORMAT, add_weights, kept, setting
from dualsweep.trainer.models.predictor import Condition, OfExamples
from dualsweep.trainer.models.quiet import quiet_libraries
from dualsweep.trainer.models.weight_files import variant_of
from dualsweep.trainer.models.whole import whole
from dualsweep.trainer.recipe.model import Model

_AT_ONCE = 16
_TOKENIZED_AT_ONCE = 1024
_log = logging.getLogger(__name__)
#: Tokens that the last, longest encoder of Stable Diffusion 3 is given.
_LONGEST = 256


class Encoders:
    """The tokenizers and text encoders of pipelines, each loaded once and kept as long as this object is."""

    def __init__(self) -> None:
        self._kept: dict[str, diffusers.DiffusionPipeline] = {}

    @quiet_libraries()
    def of(self, place: str, network: Any, parts: dict[str, Any]) -> diffusers.DiffusionPipeline:
        """The pipeline at `place` around its network, without its other parts; `parts` are the entries of its index."""
        if place not in self._kept:
            kind, part = pipeline_of(network), part_of(network)
            own = {name for name, each in parts.items() if name.startswith(("tokenizer", "text_encoder")) and each[0]}
            optional = (inspect.Parameter.empty, None)
            takes = inspect.signature(kind).parameters
            given: dict[str, Any] = {name: None for name, each in takes.items() if each.default in optional and name not in own}
            if "requires_safety_checker" in takes:
                given["requires_safety_checker"] = False
            try:
                encoders = {name: _encoder(place, name, parts[name]) for name in own if name.startswith("text_encoder")}
                pipeline = kind.from_pretrained(place, **{**given, part: network, **encoders})
            except (OSError, ValueError, ImportError, SafetensorError, UnpicklingError, EOFError) as error:
                raise TrainingError(
                    f"a pipeline's text encoders must be readable, but got {first_line(error)} for {place!r}; "
                    "fix that folder, or install what is missing"
                ) from error
            self._kept[place] = pipeline
        return self._kept[place]


def _encoder(place: str, name: str, entry: Sequence[str]) -> nn.Module:
    """A text encoder in 32 bits, whatever it was saved in, as the other parts are; `entry` are its library and its class."""
    import transformers

    kind = getattr(transformers, entry[1], None) if entry[0] == "transformers" else None
    if kind is None:
        raise TrainingError(
            f"a pipeline's {name} must be of transformers, but {place!r} has {'.'.join(entry)}; use another model"
        )
    own: dict[str, Any] = {"subfolder": name, "variant": variant_of(place, name), "dtype": torch.float32}
    return whole(kind, place, ignore_mismatched_sizes=True, **own)  # which `whole` tells, with the keys


def part_of(network: nn.Module) -> str:
    """The name of the network in its pipeline."""
    return "transformer" if "Transformer" in type(network).__name__ else "unet"


@quiet_libraries()  # what the first look at a pipeline imports has notes of its own
def pipeline_of(network: Any) -> Any:
    """The pipeline whose embedding of prompts, and whose layout of adapters, is that of the network."""
    if is_a(network, "SD3Transformer2DModel"):
        return diffusers.StableDiffusion3Pipeline
    xl = is_a(network, "UNet2DConditionModel") and network.config.get("addition_embed_type") == "text_time"
    return diffusers.StableDiffusionXLPipeline if xl else diffusers.StableDiffusionPipeline


def text_condition(
    spec: Model, network: Any, parts: dict[str, Any], encoders: Encoders, captions: Sequence[str] = ()
) -> Condition:
    """The prompts of `spec` as arguments of `network`, or the `captions` of the data, each of which is cut where it is too long.

    `parts` are the entries of the index of the pipeline at `spec.load`.

    Raises:
        TrainingError: the network is of another kind, the pipeline lacks an encoder, or a prompt is too long for it.
    """
    _check_kind(spec, network, parts)
    pipeline = encoders.of(str(spec.load), network, parts)
    texts = tuple(captions) or spec.texts
    for text in (*spec.texts, spec.negative_prompt or ""):
        _check_length(text, pipeline)
    _tell_of_cuts(captions, pipeline)
    rows = _kept(pipeline, texts, spec) if captions else _embedded(pipeline, texts, spec)
    names = ["encoder_hidden_states"]
    if len(rows) > 1:
        names.append("pooled_projections" if is_a(network, "SD3Transformer2DModel") else "text_embeds")
    without = _without(pipeline, spec, spec.negative_prompt)
    if "text_embeds" in names:
        _check_sizes(spec, network, rows[1].shape[1])
    given, others = (dict(zip(names, each, strict=True)) for each in (rows, without))
    none = None
    if captions and spec.negative_prompt is not None:
        none = dict(zip(names, _without(pipeline, spec, None), strict=True))
    pixels = _pixels(str(spec.load), parts) if "text_embeds" in names else None
    of_examples: OfExamples = "captions" if captions else ""
    return Condition(given, others, texts, pixels, spec.negative_prompt, str(spec.load), of_examples=of_examples, none=none)


def _embedded(pipeline: Any, texts: Sequence[str], spec: Model) -> list[Tensor]:
    """What the pipeline embeds of the texts, [P, ...] each: tokens, and where the network takes that too, whole texts."""
    pieces = [_encoded(pipeline, texts[at : at + _AT_ONCE], spec, False)[::2] for at in range(0, len(texts), _AT_ONCE)]
    return [torch.cat(each) for each in zip(*pieces, strict=True)]


def _without(pipeline: Any, spec: Model, negative: str | None) -> list[Tensor]:
    """The same, [1, ...] each, of a text that guidance leads away from, or of what the pipeline takes for no text."""
    return _encoded(pipeline, [""], spec, True, negative)[1::2]


def _kept(pipeline: Any, texts: Sequence[str], spec: Model) -> list[Tensor]:
    """The same of captions, which are many: encoded once for all runs, beside the latents (`latent_cache`)."""
    said = hashlib.sha256(repr((FORMAT, type(pipeline).__name__, setting(torch.device("cpu")))).encode())
    for name, part in sorted(pipeline.components.items()):
        if part is not None and name.startswith("tokenizer"):
            for at in range(0, len(texts), _TOKENIZED_AT_ONCE):
                said.update(repr((name, _tokens(part, name, texts[at : at + _TOKENIZED_AT_ONCE]))).encode())
        elif part is not None and name.startswith("text_encoder"):
            config = {key: value for key, value in part.config.to_dict().items() if not key.startswith("_")}
            said.update(repr((name, type(part).__name__, sorted(config.items(), key=str))).encode())
            add_weights(said, part)
    made: list[Tensor] = []

    def part_of_all(place: int) -> Iterator[Tensor]:
        if not made:
            made.extend(_embedded(pipeline, texts, spec))
        yield made[place]

    shapes = [(len(texts), *each.shape[1:]) for each in _embedded(pipeline, texts[:1], spec)]
    kept_rows = []
    for place, shape in enumerate(shapes):
        rows = kept(f"{said.hexdigest()[:36]}-t{place}", shape, partial(part_of_all, place))
        kept_rows.append(next(part_of_all(place)) if rows is None else rows)
    return kept_rows


def _tokens(tokenizer: Any, name: str, texts: Sequence[str]) -> list[list[int]]:
    """What an encoder is asked at for the texts, which is all that it depends on of them."""
    most = _most(tokenizer, name)
    ids: list[list[int]] = tokenizer(list(texts), padding="max_length", max_length=most, truncation=True).input_ids
    return ids


@torch.no_grad()
def _encoded(pipeline: Any, texts: Sequence[str], spec: Model, guided: bool, negative: str | None = None) -> list[Any]:
    """What the pipeline embeds: of the texts, then of none or `negative`; the same again pooled, where the network takes that."""
    options: dict[str, Any] = {
        "prompt": list(texts), "device": torch.device("cpu"), "num_images_per_prompt": 1, "do_classifier_free_guidance": guided,
        "negative_prompt": [negative] if negative is not None else None,
    }  # fmt: skip
    if hasattr(pipeline, "tokenizer_3"):
        options |= {"prompt_2": None, "prompt_3": None, "max_sequence_length": _LONGEST}
    try:
        embedded = pipeline.encode_prompt(**options)
    except Exception as error:  # of tokenizers and encoders whose files are there in part, each has its own
        if ran_out(error):
            raise
        raise TrainingError(
            f"a pipeline must embed texts, but {spec.load} fails with {type(error).__name__}: {first_line(error)}; give a whole "
            "pipeline, with its tokenizers' files"
        ) from error
    return [each.float() if each is not None else each for each in embedded]


def _check_kind(spec: Model, network: Any, parts: dict[str, Any]) -> None:
    odd = unsupported({**network.config, "_class_name": type(network).__name__})
    if odd is not None:
        raise TrainingError(
            f"a text-to-image UNet must take what that of Stable Diffusion 1, 2 or XL does, but {spec.load} also has "
            f"{odd}; use another model"
        )
    two = pipeline_of(network).__name__ != "StableDiffusionPipeline"
    wanted = ["tokenizer", "text_encoder", *(["tokenizer_2", "text_encoder_2"] if two else [])]
    missing = [name for name in wanted if not (parts.get(name) or [None])[0]]
    if missing:
        raise TrainingError(
            f"a text-to-image model must lie in a pipeline with {', '.join(wanted)}, but {spec.load} has no {missing[0]}; "
            "give the folder that holds model_index.json, of a base model"
        )


def _check_length(text: str, pipeline: Any) -> None:
    if (tokens := _tokens_beyond(text, pipeline)) is not None:
        raise TrainingError(f"a prompt must have at most {tokens[1]} tokens, but got {tokens[0]}; shorten {text!r}")


def _tell_of_cuts(captions: Sequence[str], pipeline: Any) -> None:
    """Warns once of captions that encoders take only the beginning of."""
    cut = [(text, tokens) for text in captions if (tokens := _tokens_beyond(text, pipeline)) is not None]
    if cut:
        text, (count, most) = cut[0]
        _log.warning(
            "%d of %d captions have more than the %d tokens that the text encoder takes, and are cut there: the first has %d, %r",
            len(cut), len(captions), most, count, text[:80],
        )  # fmt: skip


def _tokens_beyond(text: str, pipeline: Any) -> tuple[int, int] | None:
    """How many tokens a text has and how many an encoder takes, where that is fewer."""
    for name in ("tokenizer", "tokenizer_2", "tokenizer_3"):
        tokenizer = getattr(pipeline, name, None)
        if tokenizer is None:
            continue
        most = _most(tokenizer, name)
        if (count := len(tokenizer(text).input_ids)) > most:
            return count, most
    return None


def _most(tokenizer: Any, name: str) -> int:
    """The number of tokens that an encoder is given at most."""
    return _LONGEST if name == "tokenizer_3" else int(tokenizer.model_max_length)


def _check_sizes(spec: Model, network: Any, pooled: int) -> None:
    """SDXL's base takes the pooled text and six numbers of the image's size; its refiner others."""
    config = network.config
    wanted, total = config["projection_class_embeddings_input_dim"], pooled + 6 * config["addition_time_embed_dim"]
    if wanted != total:
        raise TrainingError(
            f"an SDXL network must take a pooled text of {pooled} numbers and six sizes, {total} in all, but {spec.load} takes "
            f"{wanted}; use a base model, not a refiner"
        )


def _pixels(place: str, parts: dict[str, Any]) -> int:
    """How many pixels of an image a latent stands for, along a side."""
    if not (parts.get("vae") or [None])[0]:
        return 1
    return int(2 ** (len(diffusers.AutoencoderKL.load_config(place, subfolder="vae")["block_out_channels"]) - 1))
