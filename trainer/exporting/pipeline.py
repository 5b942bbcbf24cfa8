"""The sampler of this model, exactly as the model was evaluated.

    DiffusionPipeline.from_pretrained(FOLDER, custom_pipeline=FOLDER, trust_remote_code=True)

It needs torch and diffusers alone, and is the same file in every folder. What it samples by stands in
`scheduler/scheduler_config.json` under `_exported`:

shape       of one sample, in the model's own space
prediction  what the networks predict, `epsilon` or `v_prediction`
asked       null, or for networks with a prediction of their own (flow matching, EDM) a row a step, (c_in, time, c_skip, c_out):
            asked at c_in x and that time, a network gives v = c_skip x + c_out output
steps       the chain, a row a step: (timestep, a, c_x, c_clean, c_noise, lead), with a the cumulative alpha before the step. With
            x0 the sample that the prediction means, x becomes c_x x + c_clean (x0 + lead (x0 - x0 before)) + c_noise noise
clip        the range of x0, or null
threshold   (ratio, most) of dynamic thresholding of x0 (arXiv 2205.11487, section 2.3), or null
asks        whose weighted sum the prediction is: each a `weight` of a `network`, by its name in the pipeline, with its `labels`
            or its `prompts`, of which sample k has number k modulo as many; `classes` are the labels' names, where a sample may
            have any of them; `without` asks for no text in place of prompts; of `by_guidance` [a, b] the weight at another
            guidance scale w is a + b w
text        of asks with prompts: the diffusers pipeline that embeds them, its options, and the pixels of a latent, for SDXL
amortised   of a network for a whole range of multipliers, which it has taken up at `at` [m] and can be asked at others: their
            `names`, `low` and `high` [m], and the `weights` of their embedding, each its shape and its float32 numbers in base64
"""

from __future__ import annotations

import base64
import inspect
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import diffusers
import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor
from torch.nn import functional

#: Tokens that the last, longest encoder of Stable Diffusion 3 is given.
_LONGEST = 256
#: So many samples are drawn at most where nobody says how many; so many prompts are embedded at once.
_UNASKED, _AT_ONCE = 64, 16


# diffusers runs this file again for every folder that it loads, in one module: a class keeps what is its own.
class SamplingPipeline(DiffusionPipeline):  # type: ignore[misc]
    """Samples along a chain that was written down, from a weighted sum of predictions."""

    _optional_components = [  # noqa: RUF012  # diffusers' own form
        "vae", "unet", "transformer", "network_1", "network_2", "network_3", "network_4", "network_5", "network_6", "network_7",
        "network_8", "tokenizer", "tokenizer_2", "tokenizer_3", "text_encoder", "text_encoder_2", "text_encoder_3",
    ]  # fmt: skip

    # Without types: diffusers 0.36 looks for those of parts, and stumbles over any that is no class.
    def __init__(  # type: ignore[no-untyped-def]
        self, scheduler, vae=None, unet=None, transformer=None, network_1=None, network_2=None, network_3=None, network_4=None,
        network_5=None, network_6=None, network_7=None, network_8=None, tokenizer=None, tokenizer_2=None, tokenizer_3=None,
        text_encoder=None, text_encoder_2=None, text_encoder_3=None,
    ):  # fmt: skip
        super().__init__()
        self.register_modules(
            scheduler=scheduler, vae=vae, unet=unet, transformer=transformer, network_1=network_1, network_2=network_2,
            network_3=network_3, network_4=network_4, network_5=network_5, network_6=network_6, network_7=network_7,
            network_8=network_8, tokenizer=tokenizer, tokenizer_2=tokenizer_2, tokenizer_3=tokenizer_3,
            text_encoder=text_encoder, text_encoder_2=text_encoder_2, text_encoder_3=text_encoder_3,
        )  # fmt: skip

    @torch.no_grad()
    def __call__(
        self, batch_size: int | None = None, prompt: str | list[str] | None = None, generator: Any = None,
        latents: Tensor | None = None, output_type: str = "pil", return_dict: bool = True,
        class_labels: str | int | list[str | int] | None = None, guidance_scale: float | None = None,
        multipliers: Mapping[str, float] | None = None, num_inference_steps: int | None = None, first: int = 0,
    ) -> Any:  # fmt: skip
        """Samples as the model was evaluated, unless it is asked for others.

        batch_size      how many; one, or of several prompts or classes one each, 64 at most, unless given
        prompt          one or several texts in place of the model's own
        class_labels    one or several classes, by name, else by number, of a model that is given any; in turn unless given
        guidance_scale  of classifier-free guidance, of a model with an unconditional prediction; 1 is none
        multipliers     by constraint, of an amortised model; 0 where left out
        latents         the noise to start from [batch_size, *shape]
        num_inference_steps  the chain's own number alone: its steps are written down
        first           how many samples of the same turn of prompts or classes came before
        output_type     `pil`, `np` [batch_size, height, width, channels] or `pt` [batch_size, channels, height, width], in [0, 1]

        Raises:
            ValueError: the model knows no such prompt, class, guidance, multipliers or number of steps.
        """
        told = self.scheduler.config["_exported"]
        if num_inference_steps not in (None, len(told["steps"])):
            raise ValueError(
                f"`num_inference_steps` must be {len(told['steps'])}, those of the chain that was evaluated, but got "
                f"{num_inference_steps}; leave it out, or sample by diffusers' own class where the model card names one"
            )
        asks = _from(first, self._guided(self._of_classes(self._asks(told, prompt), class_labels), guidance_scale))
        count = batch_size or min(_turns(asks), _UNASKED)
        shape = (count, *told["shape"])
        x = randn_tensor(shape, generator=generator, device=self.device) if latents is None else latents.to(self.device)
        with self._under(told, asks, multipliers):
            images = self._images(self._chain(told, asks, x, generator), output_type)
        return ImagePipelineOutput(images=images) if return_dict else (images,)

    def turns(self, prompt: str | list[str] | None = None, class_labels: Any = None) -> int:
        """After how many samples prompts or classes come round again: those of whole turns have all alike."""
        return _turns(self._of_classes(self._asks(self.scheduler.config["_exported"], prompt), class_labels))

    def _chain(self, told: Any, asks: list[dict[str, Any]], x: Tensor, generator: Any) -> Tensor:
        """The samples [B, *shape] that the chain makes of noise x."""
        given = [(ask["weight"], getattr(self, ask["network"]), self._arguments(told, ask, x)) for ask in asks if ask["weight"]]
        last = torch.zeros_like(x)
        rows = told["asked"] or [(1.0, step[0], 0.0, 1.0) for step in told["steps"]]
        for asked, (_, signal, of_x, of_clean, of_noise, lead) in zip(rows, self.progress_bar(told["steps"]), strict=True):
            clean = self._clean(told, x, signal, self._prediction(given, x, *asked))
            x, last = of_x * x + of_clean * (clean + lead * (clean - last)), clean
            if of_noise:
                x = x + of_noise * randn_tensor(x.shape, generator=generator, device=x.device)
        return x

    def _asks(self, told: Any, prompt: str | list[str] | None) -> list[dict[str, Any]]:
        """What the networks are asked, with these texts in place of the model's own."""
        asks = [dict(ask) for ask in told["asks"]]
        if prompt is None:
            return asks
        own = {tuple(ask["prompts"]) for ask in asks if "prompts" in ask}
        if len(own) != 1:
            what = "takes no text" if not own else f"is composed of {len(own)} texts"
            raise ValueError(f"`prompt` must go with a model of text, but this one {what}; leave it out")
        texts = [prompt] if isinstance(prompt, str) else list(prompt)
        return [{**ask, "prompts": texts} if "prompts" in ask else ask for ask in asks]

    def _of_classes(self, asks: list[dict[str, Any]], wanted: Any) -> list[dict[str, Any]]:
        """What the networks are asked, with these classes in place of all."""
        if wanted is None:
            return asks
        classes: list[str] = next((ask["classes"] for ask in asks if ask.get("classes")), [])
        labels = [_number_of(str(each), classes) for each in (wanted if isinstance(wanted, list) else [wanted])]
        if None in labels:
            known = f"of {', '.join(classes)}" if classes else "left out, as this model is given none"
            raise ValueError(f"`class_labels` must be {known}, but got {wanted!r}")
        return [{**ask, "labels": labels} if ask.get("classes") else ask for ask in asks]

    def _guided(self, asks: list[dict[str, Any]], scale: float | None) -> list[dict[str, Any]]:
        """What the networks are asked, under this guidance in place of the model's own."""
        if scale is None:
            return asks
        if not any("by_guidance" in ask for ask in asks):
            raise ValueError(
                "`guidance_scale` must go with a model of an unconditional prediction, but this has none; leave it out"
            )
        if not math.isfinite(scale):
            raise ValueError(f"`guidance_scale` must be a finite number, 1 for none, but got {scale}")
        led = [ask.get("by_guidance", (ask["weight"], 0.0)) for ask in asks]
        return [{**ask, "weight": constant + slope * scale} for ask, (constant, slope) in zip(asks, led, strict=True)]

    @contextmanager
    def _under(self, told: Any, asks: list[dict[str, Any]], multipliers: Mapping[str, float] | None) -> Iterator[None]:
        """The network under other multipliers: what their embedding adds to the timestep's, in place of what it took up."""
        if multipliers is None:
            yield
            return
        kept = told.get("amortised")
        if kept is None:
            raise ValueError("`multipliers` must go with an amortised model, but this one has one set of them; leave them out")
        if not all(name in kept["names"] and 0 <= value < math.inf for name, value in multipliers.items()):
            raise ValueError(f"`multipliers` must be numbers ≥ 0 of {', '.join(kept['names'])}, but got {dict(multipliers)!r}")
        network = getattr(self, asks[0]["network"])
        wanted = _embedded(kept, [multipliers.get(name, 0.0) for name in kept["names"]])
        added = [(new - old).to(network.device) for new, old in zip(wanted, _embedded(kept, kept["at"]), strict=True)]
        handles = [place.register_forward_hook(_adder(each)) for place, each in zip(_places(network), added, strict=True)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _arguments(self, told: Any, ask: dict[str, Any], x: Tensor) -> dict[str, Any]:
        """What a network is given beside x and the time."""
        if "labels" in ask:
            labels = torch.tensor(ask["labels"], device=x.device)
            return {"class_labels": labels[torch.arange(len(x), device=x.device) % len(labels)]}
        if "prompts" not in ask:
            return {}
        text = told["text"]
        hidden, *pooled = self._embedded(text, ask, len(x), x.device)
        rows = torch.arange(len(x), device=x.device) % len(hidden)
        dtype = getattr(self, ask["network"]).dtype
        arguments: dict[str, Any] = {"encoder_hidden_states": hidden[rows].to(dtype)}
        if not pooled:
            return arguments
        embeds = pooled[0][rows].to(dtype)
        if text["pipeline"] != "StableDiffusionXLPipeline":
            return {**arguments, "pooled_projections": embeds}
        size = [side * text["pixels"] for side in x.shape[2:]]
        # The size before and after cropping, with no crop between them (Podell et al. 2023, arXiv 2307.01952, section 2.2).
        times = torch.tensor([*size, 0, 0, *size], dtype=dtype, device=x.device).expand(len(x), 6)
        return {**arguments, "added_cond_kwargs": {"text_embeds": embeds, "time_ids": times}}

    def _embedded(self, text: Any, ask: dict[str, Any], count: int, device: Any) -> list[Tensor]:
        """The first `count` prompts of an ask, or what stands for none, as its pipeline embeds them, a row each; then pooled."""
        parts = {name: part for name, part in self.components.items() if name.startswith(("tokenizer", "text_encoder"))}
        kind = getattr(diffusers, text["pipeline"])
        taken = [name for name, each in inspect.signature(kind).parameters.items() if each.default is inspect.Parameter.empty]
        network = "transformer" if "transformer" in taken else "unet"
        given = {name: parts.get(name) for name in taken} | {network: getattr(self, ask["network"])}
        options: dict[str, Any] = {"prompt_2": None, "prompt_3": None, "max_sequence_length": _LONGEST}
        told = {
            "device": device, "num_images_per_prompt": 1, "do_classifier_free_guidance": ask["without"],
            "negative_prompt": None if ask["negative"] is None or not ask["without"] else [ask["negative"]],
        }  # fmt: skip
        third = options if "tokenizer_3" in taken else {}
        encoders, texts = kind(**given, **text["options"]), list(ask["prompts"][: 1 if ask["without"] else count])
        pieces = [
            encoders.encode_prompt(prompt=texts[at : at + _AT_ONCE], **told, **third)[int(ask["without"]) :: 2]
            for at in range(0, len(texts), _AT_ONCE)
        ]
        return [torch.cat(each) for each in zip(*pieces, strict=True) if each[0] is not None]

    def _prediction(self, given: list[Any], x: Tensor, scale: float, time: float, of_x: float, of_output: float) -> Tensor:
        """The weighted sum of the networks' predictions [B, *shape], of noise or v."""
        times = torch.full((len(x),), time, device=x.device)
        total: Tensor = torch.zeros_like(x)
        for weight, network, arguments in given:
            predicted = network((scale * x).to(network.dtype), timestep=times, **arguments).sample
            total = total + weight * predicted[:, : x.shape[1]].float()  # the mean, of one that predicts its variance too
        prediction: Tensor = sum(weight for weight, *_ in given) * of_x * x + of_output * total
        return prediction

    def _clean(self, told: Any, x: Tensor, signal: float, prediction: Tensor) -> Tensor:
        """The sample [B, *shape] that a prediction at x means, in its range."""
        if told["prediction"] == "epsilon":
            clean: Tensor = (x - (1 - signal) ** 0.5 * prediction) / signal**0.5
        else:
            clean = signal**0.5 * x - (1 - signal) ** 0.5 * prediction
        if told["threshold"] is not None:
            ratio, most = told["threshold"]
            far = torch.stack([torch.quantile(each, ratio) for each in clean.flatten(1).abs()]).clamp(1, most)
            bound = far.view(-1, *[1] * (clean.ndim - 1))
            return clean.clamp(-bound, bound) / bound
        return clean.clamp(-told["clip"], told["clip"]) if told["clip"] is not None else clean

    def _images(self, x: Tensor, output_type: str) -> Any:
        """The images of samples, through the autoencoder where there is one."""
        if self.vae is not None:
            config, dtype = self.vae.config, self.vae.dtype
            taken = torch.float32 if dtype == torch.float16 and config.get("force_upcast") else dtype  # else it overflows
            z = x / config.scaling_factor + (getattr(config, "shift_factor", None) or 0.0)
            x = self.vae.to(taken).decode(z.to(taken)).sample.float()
            self.vae.to(dtype)
        x = (x / 2 + 0.5).clamp(0, 1).cpu()
        arrays = x.permute(0, 2, 3, 1).numpy()
        return x if output_type == "pt" else arrays if output_type == "np" else self.numpy_to_pil(arrays)


def _turns(asks: list[dict[str, Any]]) -> int:
    return max([len(ask.get("prompts") or ask.get("labels") or " ") for ask in asks])


def _from(first: int, asks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same, of which the first sample has the prompt or class that comes at position `first`."""
    turns = [{key: (first % len(ask[key]), ask[key]) for key in ("prompts", "labels") if ask.get(key)} for ask in asks]
    return [ask | {key: [*own[at:], *own[:at]] for key, (at, own) in turn.items()} for ask, turn in zip(asks, turns, strict=True)]


def _number_of(label: str, classes: list[str]) -> int | None:
    """The number of a class by its name, which may be digits too, else by these; None where there is none."""
    if label in classes:
        return classes.index(label)
    return int(label) if label.isdecimal() and int(label) < len(classes) else None


def _places(network: Any) -> list[Any]:
    """The last layers of a network's embeddings of the timestep, where that of multipliers is added."""
    named = [(name.rpartition(".")[2], each) for name, each in network.named_modules()]
    return [each.linear_2 for name, each in named if type(each).__name__ == "TimestepEmbedding" and name.startswith("time")]


def _adder(added: Tensor) -> Any:
    return lambda _, __, output: output + added.to(output.dtype)


def _embedded(kept: Any, multipliers: list[float]) -> list[Tensor]:
    """What multipliers [m] add at every place, [1, size]; 0 for multipliers of 0."""
    weights = {
        name: torch.frombuffer(bytearray(base64.b64decode(numbers)), dtype=torch.float32).view(shape)
        for name, (shape, numbers) in kept["weights"].items()
    }
    low, high, asked = (torch.tensor([each], dtype=torch.float32) for each in (kept["low"], kept["high"], multipliers))
    features = torch.cat([torch.log1p(asked / low) / torch.log1p(high / low), asked / high], dim=-1)

    def hidden(x: Tensor) -> Tensor:
        for layer in ("body.0", "body.2"):
            x = functional.silu(functional.linear(x, weights[f"{layer}.weight"], weights[f"{layer}.bias"]))
        return x

    away = hidden(features) - hidden(torch.zeros_like(features))
    heads = sum(name.startswith("heads.") for name in weights)
    return [functional.linear(away, weights[f"heads.{number}.weight"]) for number in range(heads)]
