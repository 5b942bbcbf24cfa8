"""How errors of others are told in one line."""

from __future__ import annotations

import pytest

from dualsweep.trainer.config.wording import first_line, with_class


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("no such thing\nand a page of it"), "no such thing"),
        (ValueError("\n\n  late\n"), "late"),
        (FileNotFoundError(), "FileNotFoundError"),  # nothing said: its first line is not there to be taken
        (ValueError("  \n "), "ValueError"),
        (OSError(28, "No space left on device", "/a"), "[Errno 28] No space left on device: '/a'"),
        (
            OSError("(raised as a result of Query-invoked autoflush)\n(sqlite3.OperationalError) locked"),
            "(sqlite3.OperationalError) locked",
        ),
    ],
)
def test_of_what_an_error_says_the_first_line_is_told(error: Exception, told: str) -> None:
    assert first_line(error) == told


def test_with_its_class_an_error_is_cut_at_200_characters() -> None:
    assert with_class(RuntimeError("x" * 300)) == "RuntimeError: " + "x" * 200
    assert with_class(KeyError("a\nb")) == "KeyError: 'a\\nb'"
