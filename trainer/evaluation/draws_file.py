"""`draws.npz`: what a final evaluation drew, kept beside its result, so that trials on common random numbers can be paired.

Of set k of joint draws it holds `columns_k`, `values_k` [n, q] in float32 and, where there are some, `units_k` and `groups_k`
[n] and `factors_k` [n, q]; in `head`, as JSON, the `seed`, `size`, the constraints' `names` and which are `relative`, and for
each set its stages, pool, whether it is stratified, and how many draws there were in `total`. Of calibration c, by which values
are measured, it holds the expectations `measured_c` [q] and `shares_c` [N, q], what each of its own draws put into the errors of
these, and in `head` its identity. The first `MOST` draws of a set are kept: they are there to tell how the means of two trials
vary together. Workers send each other theirs in the same form, whole, in float64 and with `beside_k` [n, j] where there is some
(`sent`, `received`): nothing that is unpickled.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dualsweep.trainer.evaluation.drawn import DrawnValues, JointDraws, drawn_values
from dualsweep.trainer.evaluation.spread import MeanSpread, Vector

DRAWS = "draws.npz"
#: A correlation is known to 0.01 by as many.
MOST = 16_384


@dataclass(frozen=True)
class KeptCalibration:
    """A `Calibration` as the file has it: the shares [N, k] that its own draws put into the errors of k expectations."""

    columns: tuple[int, ...]
    shares: Vector
    identity: str = ""

    def spread(self, rows: Vector, draws: JointDraws) -> MeanSpread:
        """What it adds to combinations `rows` [q, k] of the expectations, whatever the `draws` are."""
        shares, size = self.shares @ rows.T, len(rows)
        degrees, numbers = np.full(size, float(max(1, len(shares) - 1))), np.arange(len(shares))
        return MeanSpread(shares.T @ shares, (shares**3).sum(0), len(shares), degrees, numbers, shares, np.zeros(size))


def stored(drawn: DrawnValues, seed: int, names: Sequence[str] = (), relative: Sequence[bool] = ()) -> bytes:
    """The file's bytes; `seed` is the recipe's, on which draws depend.

    `names` and `relative` are of the constraints, whose expectations are 1, 2, …: a relative one's value is less the objective.
    """
    calibrated = drawn.calibrated(np.eye(drawn.size))
    head = {"seed": seed, "size": drawn.size, "names": list(names), "relative": [bool(each) for each in relative]}
    head["calibrations"] = [each.identity for each, _ in calibrated]
    arrays: dict[str, np.ndarray] = {}
    for number, (each, spread) in enumerate(calibrated):
        arrays[f"measured_{number}"] = np.array(each.columns)
        arrays[f"shares_{number}"] = spread.shares[:, list(each.columns)].astype(np.float32)
    return _written([_first(whole) for whole in drawn.sets], np.float32, np.savez_compressed, head, arrays)


def sent(sets: Sequence[JointDraws]) -> bytes:
    """What one worker drew, for another."""
    return _written(sets, np.float64, np.savez, {})


def loaded(data: bytes) -> tuple[DrawnValues, int]:
    """What `stored` wrote, and the seed.

    Raises:
        ValueError: it is no such file.
    """
    sets, head = _read(data)
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        calibrations = [
            KeptCalibration(tuple(file[f"measured_{number}"].tolist()), file[f"shares_{number}"].astype(np.float64), identity)
            for number, identity in enumerate(head.get("calibrations", []))
        ]
    return drawn_values(head["size"], sets, calibrations), head["seed"]


def received(data: bytes) -> list[JointDraws]:
    """What `sent` wrote.

    Raises:
        ValueError: it is something else.
    """
    return _read(data)[0]


def _written(
    sets: Sequence[JointDraws], real: type[np.floating], save: Callable[..., None], head: dict[str, Any],
    beside: Mapping[str, np.ndarray] | None = None,
) -> bytes:  # fmt: skip
    arrays, described = dict(beside or {}), []
    for number, draws in enumerate(sets):
        arrays[f"columns_{number}"], arrays[f"values_{number}"] = np.array(draws.columns), draws.values.astype(real)
        for name in ("units", "groups", "beside", "factors"):
            if (kept := getattr(draws, name)) is not None:
                arrays[f"{name}_{number}"] = kept
        described.append({"stages": draws.stages, "stratified": draws.stratified, "pool": draws.pool, "total": draws.total})
    written = io.BytesIO()
    save(written, head=np.frombuffer(json.dumps({**head, "sets": described}).encode(), dtype=np.uint8), **arrays)
    return written.getvalue()


def _read(data: bytes) -> tuple[list[JointDraws], dict[str, Any]]:
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            head = json.loads(file["head"].tobytes())
            sets = [
                JointDraws(
                    tuple(int(column) for column in file[f"columns_{number}"]), file[f"values_{number}"].astype(np.float64),
                    tuple(description["stages"]), description["stratified"], _known(file, f"units_{number}"),
                    _known(file, f"groups_{number}"), description["pool"], _known(file, f"beside_{number}"),
                    _known(file, f"factors_{number}"), description.get("total"),
                )
                for number, description in enumerate(head["sets"])
            ]  # fmt: skip
    except Exception as error:
        raise ValueError(f"{DRAWS} must be as a final evaluation writes it, but got {type(error).__name__}: {error}") from error
    return sets, head


def naming(data: bytes) -> tuple[tuple[str, ...], tuple[bool, ...]]:
    """The constraints' names in the order of their expectations, and which are relative.

    None in a file of before there were any, or of before calibrations were kept: it lacks a part of what errors have in common.
    """
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        head = json.loads(file["head"].tobytes())
    if "calibrations" not in head:
        return (), ()
    return tuple(head.get("names", ())), tuple(head.get("relative", ()))


def _known(file: np.lib.npyio.NpzFile, name: str) -> np.ndarray | None:
    return file[name] if name in file.files else None


def _first(whole: JointDraws) -> JointDraws:
    """The stages that begin within the first `MOST` draws, the last one cut there; without what is `beside`."""
    ends = np.minimum(np.cumsum(whole.stages), MOST)
    stages = tuple(int(length) for length in np.diff(ends, prepend=0) if length)
    return replace(whole.first(stages), beside=None, total=len(whole.values))
