"""The gauges of trainings: whose they are, and that the guide names all of them. Ray's own export is tested with real jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from dualsweep.trainer.ray_shell.live_metrics import DESCRIPTIONS, tags

GUIDE = Path(__file__).parents[3] / "docs" / "cluster.md"


@pytest.mark.parametrize(
    ("output", "run", "trial"),
    [
        ("/shared/digits/trials/0003", "digits", "0003"),
        ("s3://bucket/digits/trials/0003/seed-1", "digits", "0003/seed-1"),
        ("/shared/faces/", "faces", ""),
        ("runs/größe/trials/0001", "gr\\xf6\\xdfe", "0001"),  # Ray takes ASCII alone
    ],
)
def test_a_gauge_says_whose_it_is(output: str, run: str, trial: str) -> None:
    assert tags(output) == {"run": run, "trial": trial}


def test_the_guide_has_each_gauge_as_it_is_described() -> None:
    rows = [f"| `ray_dualsweep_{name}` | {text}" for name, text in DESCRIPTIONS.items()]
    assert [row for row in rows if row not in GUIDE.read_text()] == []
