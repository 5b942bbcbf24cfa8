"""The review of a sweep: its front, its hypervolume and the files that show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dualsweep.analysis.figures.front_html import LOCAL_UI, front_html
from dualsweep.analysis.figures.front_png import front_png
from dualsweep.analysis.figures.samples_png import samples_png
from dualsweep.analysis.front import Front, find_front
from dualsweep.analysis.hypervolume import hypervolume, hypervolume_history, reference_point_of
from dualsweep.analysis.prices.shadow import Prices, shadow_prices
from dualsweep.analysis.recommendation.recommend import Recommendation, recommend
from dualsweep.analysis.spreadsheet import write_trials
from dualsweep.analysis.trials import SweepRecord
from dualsweep.trainer.storage import write_file


@dataclass(frozen=True)
class Review:
    """What a sweep came to.

    `hypervolume` is in the product of the objectives' units; it and `reference_point` are None where no
    trial is feasible and the sweep names no reference point. `history` [trials] is the hypervolume after
    each trial. `prices` are what the budgets cost along the front, `recommendation` which point to take. The paths are the
    files written.
    """

    front: Front
    hypervolume: float | None
    reference_point: tuple[float, ...] | None
    history: tuple[float, ...]
    prices: Prices
    recommendation: Recommendation
    front_html: Path
    front_png: Path
    trials_csv: Path
    #: Samples along the front, where their pictures are known.
    samples_png: Path | None = None

    @property
    def named(self) -> Mapping[str, Sequence[str]]:
        """Words for single trials, by id: `preferred`, `knee` or both."""
        return {trial.trial_id: words for trial in self.recommendation.named if (words := self.recommendation.words_of(trial))}

    @property
    def said(self) -> Mapping[str, Sequence[str]]:
        """What there is to say of single trials' prices, by id."""
        remarks: dict[str, list[str]] = {}
        for price in self.prices.prices:
            remarks.setdefault(price.trial_id, []).append(price.sentence)
        for trial_id, trouble in self.prices.troubles.items():
            remarks.setdefault(trial_id, []).append(trouble)
        return remarks

    @property
    def front_ids(self) -> tuple[str, ...]:
        """The ids of the trials on the front, from the best end of the first objective."""
        return self.front.ids


def review(
    record: SweepRecord, output_dir: Path, *, base_url: str = LOCAL_UI, thumbnails: Mapping[str, str] | None = None
) -> Review:
    """Find the front of a sweep and write `front.html`, `front.png` and `trials.csv` into `output_dir`.

    The folder is made where it is missing, and files of an earlier review are replaced. `base_url` is the
    MLflow UI that the page's links lead to when it is opened from disk; `thumbnails` are pictures of samples by trial id, as
    data URIs.

    Raises:
        ReviewError: the sweep's reference point does not fit its objectives.
        OSError: the folder cannot be written.
    """
    front = find_front(record)
    reference = reference_point_of(record)
    directions = list(record.objectives.values())
    points = [record.point(trial) for trial in front.trials]
    volume = None if reference is None else hypervolume(points, directions, reference)
    history = hypervolume_history(record)
    recommendation = recommend(record, front)
    output_dir.mkdir(parents=True, exist_ok=True)
    samples = samples_png(record, front, thumbnails or {})
    made = Review(
        front=front,
        hypervolume=volume,
        reference_point=reference,
        history=history,
        prices=shadow_prices(record, front, recommendation.named),
        recommendation=recommendation,
        front_html=output_dir / "front.html",
        front_png=output_dir / "front.png",
        trials_csv=output_dir / "trials.csv",
        samples_png=output_dir / "front-samples.png" if samples else None,
    )
    page = front_html(
        record, front, hypervolume=volume, reference_point=reference, history=history, base_url=base_url,
        thumbnails=thumbnails, named=made.named, said=made.said, advice=recommendation.reasons,
    )  # fmt: skip
    _write(record, made, page, samples)
    return made


def _write(record: SweepRecord, made: Review, page: str, samples: bytes | None) -> None:
    write_file(made.front_html, page)
    write_file(made.front_png, front_png(record, made.front))
    if made.samples_png and samples:
        write_file(made.samples_png, samples)
    write_trials(made.trials_csv, record, made.front, made.prices, made.recommendation)
