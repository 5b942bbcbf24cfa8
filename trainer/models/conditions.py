"""What a loaded network is conditioned on: the embedding of a prompt, or a class."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.embeddings import LabelEmbedding
from torch import Tensor, nn

from trainer.errors import TrainingError
from trainer.models.predictor import Condition
from trainer.recipe import Model


def condition_of(spec: Model, network: nn.Module, parts: dict[str, Any]) -> Condition | None:
    """The condition of `network` as `spec` asks; `parts` are the entries of the pipeline's index, by name.

    Raises:
        TrainingError: the network must be given a prompt or class and is not, or is given one that it does not take.
    """
    if isinstance(network, UNet2DConditionModel):
        found = _text(spec, network, parts)
    elif (classes := _classes(network)) is not None:
        found = _label(spec, network, classes)
    else:
        for key in ("prompt", "label", "negative_prompt", "guidance"):
            if getattr(spec, key) is not None:
                raise TrainingError(
                    f"a model's `{key}` must go with a conditional network, but {spec.load} holds an unconditional "
                    f"{type(network).__name__}; drop `{key}`"
                )
        return None
    if spec.guidance not in (None, 1.0) and not found.has_unconditional:
        raise TrainingError(
            f"a model's `guidance` must go with a network that also knows no class, but {spec.load} has no such "
            "embedding; drop it"
        )
    return found


def _text(spec: Model, network: UNet2DConditionModel, parts: dict[str, Any]) -> Condition:
    if spec.label is not None:
        raise TrainingError(
            f"a model's `label` must go with a class-conditional network, but {spec.load} takes text; write prompt"
        )
    if spec.prompt is None:
        raise TrainingError(
            f"a text-to-image model must have a `prompt`, but got none for {spec.load}; write e.g. prompt: an apple"
        )
    if spec.negative_prompt is not None and spec.guidance in (None, 1.0):
        raise TrainingError(
            f"a model's `negative_prompt` must go with guidance, but got {spec.negative_prompt!r} without; "
            "write e.g. guidance: 5.0"
        )
    for key in ("addition_embed_type", "class_embed_type"):
        if network.config.get(key) is not None:
            raise TrainingError(
                f"a text-to-image model must take the text's embedding alone, but {spec.load} has {key} "
                f"{network.config[key]!r} (as SDXL does); use a model of the kind of Stable Diffusion 1 or 2"
            )
    missing = [name for name in ("tokenizer", "text_encoder") if not (parts.get(name) or [None])[0]]
    if missing:
        raise TrainingError(
            f"a text-to-image model must lie in a pipeline with tokenizer and text_encoder, but {spec.load} has no "
            f"{missing[0]}; give the folder that holds model_index.json"
        )
    tokenizer, encoder = (_part(str(spec.load), name, parts[name]) for name in ("tokenizer", "text_encoder"))
    given, without = (_embedding(text, tokenizer, encoder) for text in (spec.prompt, spec.negative_prompt or ""))
    return Condition({"encoder_hidden_states": given}, {"encoder_hidden_states": without})


def _part(place: str, name: str, kind: tuple[str, str]) -> Any:
    return getattr(import_module(kind[0]), kind[1]).from_pretrained(place, subfolder=name)


@torch.no_grad()
def _embedding(text: str, tokenizer: Any, encoder: Any) -> Tensor:
    """[1, L, D], as diffusers' Stable Diffusion embeds a prompt."""
    words = tokenizer(text, padding="max_length", max_length=tokenizer.model_max_length, return_tensors="pt")
    if words.input_ids.shape[1] > tokenizer.model_max_length:
        raise TrainingError(
            f"a prompt must have at most {tokenizer.model_max_length} tokens, but got {words.input_ids.shape[1]}; "
            f"shorten {text!r}"
        )
    mask = words.attention_mask if getattr(encoder.config, "use_attention_mask", False) else None
    embedding: Tensor = encoder.eval()(words.input_ids, attention_mask=mask)[0]
    return embedding.float()


def _classes(network: nn.Module) -> int | None:
    """How many classes a network knows; None for one that knows none."""
    config = getattr(network, "config", {})
    if config.get("norm_type") == "ada_norm_zero":
        return int(config["num_embeds_ada_norm"])
    return config.get("num_class_embeds") if config.get("class_embed_type") is None else None


def _label(spec: Model, network: nn.Module, classes: int) -> Condition:
    if spec.prompt is not None or spec.negative_prompt is not None:
        raise TrainingError(f"a model's `prompt` must go with a text-to-image model, but {spec.load} takes classes; write label")
    if spec.label is None or spec.label >= classes:
        raise TrainingError(
            f"a class-conditional model must have a `label` from 0 to {classes - 1}, but got {spec.label} for {spec.load}; "
            "change it"
        )
    tables = [each for each in network.modules() if isinstance(each, LabelEmbedding)]
    for table in tables:
        table.dropout_prob = 0.0  # dropping classes at random would make two passes on one state disagree
    unconditional = any(table.embedding_table.num_embeddings > classes for table in tables)
    without = {"class_labels": torch.tensor([classes])} if unconditional else None
    return Condition({"class_labels": torch.tensor([spec.label])}, without)
