"""The words of a folder of plug-ins: some in an order of their own, then all others, without any import."""

from __future__ import annotations

from pathlib import Path

from dualsweep.trainer.config.plug_ins import words


def test_the_first_words_keep_their_order_and_others_follow(tmp_path: Path) -> None:
    for name in ("beta", "alpha", "delta", "gamma"):
        (tmp_path / f"{name}.py").write_text("raise AssertionError('imported')")
    (tmp_path / "__init__.py").touch()
    (tmp_path / "notes.txt").touch()
    assert words([str(tmp_path)], ("gamma", "beta")) == ("gamma", "beta", "alpha", "delta")
    assert words([str(tmp_path)]) == ("alpha", "beta", "delta", "gamma")
