"""Where the diffusion lives: in the data themselves, or in the latent space of an autoencoder (Rombach et al. 2022).

The diffusion's terms see latents; rewards, metrics and grids see decoded images. Latents are scaled as diffusers scales them:
z = (mean of the encoder - shift) * scale.
"""

from __future__ import annotations

import hashlib
from typing import Protocol

import diffusers
import torch
from torch import Tensor

from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.models.latent_cache import add_weights, setting


class Space(Protocol):
    """The space of the diffusion, and the way to the data's and back."""

    latent: bool

    def coded(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The diffusion's shape for data of `shape`. Raises `TrainingError` where there is none."""
        ...

    def decoded(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The data's shape for a diffusion of `shape`."""
        ...

    def encode(self, x: Tensor) -> Tensor:
        """Data [B, *shape], on any device, to the diffusion's space, on the device of x; without gradients."""
        ...

    def identity(self) -> str:
        """A digest of all that `encode` depends on beside the data."""
        ...

    def decode(self, z: Tensor) -> Tensor:
        """The data [B, *decoded] of z [B, *shape], with gradients to z."""
        ...


class Pixels:
    """The data themselves."""

    latent = False

    def coded(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape

    def decoded(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape

    def encode(self, x: Tensor) -> Tensor:
        return x

    def identity(self) -> str:
        return "pixels"

    def decode(self, z: Tensor) -> Tensor:
        return z


class Latents:
    """The latent space of an `AutoencoderKL`, which is frozen. Data are encoded to the posterior's mean: no draw of it."""

    latent = True

    def __init__(self, vae: diffusers.AutoencoderKL, device: torch.device) -> None:
        self.vae = vae.to(device).requires_grad_(False).eval()
        self.factor = 2 ** (len(vae.config.block_out_channels) - 1)
        self.scale = float(vae.config.scaling_factor)
        self.shift = float(getattr(vae.config, "shift_factor", None) or 0.0)

    def coded(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        channels = self.vae.config.in_channels
        if len(shape) != 3 or shape[0] != channels or any(side % self.factor for side in shape[1:]):
            raise TrainingError(
                f"data of a latent model must be images [{channels}, H, W] with sides that are multiples of {self.factor}, "
                f"but got {list(shape)}; use data.size, and leave data.grey out"
            )
        return (int(self.vae.config.latent_channels), *(side // self.factor for side in shape[1:]))

    def decoded(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (int(self.vae.config.out_channels), *(side * self.factor for side in shape[1:]))

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        mean: Tensor = self.vae.encode(x.to(self.vae.device, self.vae.dtype)).latent_dist.mode()
        return ((mean - self.shift) * self.scale).to(x.device, x.dtype)

    def identity(self) -> str:
        config = {key: value for key, value in self.vae.config.items() if not key.startswith("_")}
        told = [config, self.scale, self.shift, *setting(self.vae.device)]
        digest = hashlib.sha256(repr(told).encode())
        add_weights(digest, self.vae)
        return digest.hexdigest()

    def decode(self, z: Tensor) -> Tensor:
        # In its own precision whatever the model's: activations of SDXL's autoencoder are too large for half precision.
        with torch.autocast(self.vae.device.type, enabled=False):
            images: Tensor = self.vae.decode(z.to(self.vae.device, self.vae.dtype) / self.scale + self.shift).sample
        return images.to(z.device, z.dtype)


@torch.no_grad()
def decode_in_parts(space: Space, z: Tensor, batch_size: int) -> Tensor:
    """Final images [B, *decoded] in [-1, 1] of latents z [B, *shape]; in pixel space z itself."""
    if not space.latent or not len(z):
        return z
    return torch.cat([space.decode(part).clamp(-1, 1) for part in torch.split(z, batch_size)])


def same(first: Space, second: Space) -> bool:
    """Whether a point means the same data in both."""
    if first is second:
        return True
    if not isinstance(first, Latents) or not isinstance(second, Latents):
        return first.latent == second.latent
    ours, theirs = first.vae.state_dict(), second.vae.state_dict()
    alike = (first.factor, first.scale, first.shift) == (second.factor, second.scale, second.shift)
    return alike and ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key].to(ours[key])) for key in ours)
