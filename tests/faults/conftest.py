"""The working directory and the user's parts are those of the pipeline's tests."""

from tests.pipeline.conftest import folder

__all__ = ["folder"]
