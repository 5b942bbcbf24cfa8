"""How errors of others are told in one line."""

from __future__ import annotations

import pytest

from dualsweep.trainer.config.wording import first_line


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("no such thing\nand a page of it"), "no such thing"),
        (ValueError("\n\n  late\n"), "late"),
        (FileNotFoundError(), "FileNotFoundError"),  # nothing said: its first line is not there to be taken
        (ValueError("  \n "), "ValueError"),
        (OSError(28, "No space left on device", "/a"), "[Errno 28] No space left on device: '/a'"),
        (RuntimeError("x" * 300), "x" * 200),
    ],
)
def test_of_what_an_error_says_the_first_line_is_told(error: Exception, told: str) -> None:
    assert first_line(error) == told
