"""How a trained model is sampled, as its recipe and the command line together say."""

from __future__ import annotations

from typing import NamedTuple

from dualsweep.trainer.recipe.product import Product


class Sampling(NamedTuple):
    """A sampler, by its name in recipes; its number of steps; the noise eta of `rollout`.

    The steps of `langevin` are its noise levels, `product` is how it goes through each.
    """

    sampler: str
    steps: int
    eta: float
    product: Product = Product()
