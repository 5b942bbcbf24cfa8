"""diffusers and transformers told to load and write without bars and notes for each part, which nobody asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """While it is open both log errors alone; afterwards they are as they were."""
    from diffusers.utils import logging as of_diffusers
    from transformers.utils import logging as of_transformers

    loggers = (of_diffusers, of_transformers)
    kept = [(logger.get_verbosity(), logger.is_progress_bar_enabled()) for logger in loggers]
    for logger in loggers:
        logger.set_verbosity_error()
        logger.disable_progress_bar()
    try:
        yield
    finally:
        for logger, (verbosity, shown) in zip(loggers, kept, strict=True):
            logger.set_verbosity(verbosity)
            if shown:
                logger.enable_progress_bar()
