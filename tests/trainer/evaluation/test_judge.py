from __future__ import annotations

import logging
import multiprocessing
import os
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import pytest
import torch

from dualsweep.trainer.data.examples import InMemory
from dualsweep.trainer.engine.assembly import prepare
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.evaluation import judge as module
from dualsweep.trainer.evaluation.images import Rows
from dualsweep.trainer.evaluation.judge import ConvJudge, judge_for, load_judge, save_judge
from dualsweep.trainer.evaluation.judge_network import fit
from dualsweep.trainer.evaluation.judge_protocol import classify, embed
from dualsweep.trainer.evaluation.variants import Variants
from dualsweep.trainer.recipe.evaluation import JudgeSpec
from tests.trainer import recipes
from tests.trainer.models.test_build import host_in

SPEC = JudgeSpec(epochs=2, features=8)


def _few(digits: InMemory) -> InMemory:
    assert digits.labels is not None
    return InMemory(digits.images[:300], digits.labels[:300], digits.class_names)


def _weights(judge: object) -> dict[str, torch.Tensor]:
    assert isinstance(judge, ConvJudge)
    return judge.state_dict()


def _same(first: object, second: object) -> bool:
    one, other = _weights(first), _weights(second)
    return all(torch.equal(one[name], other[name]) for name in one)


def test_saved_and_loaded_whole(tmp_path: Path, judge: ConvJudge, digits: InMemory) -> None:
    save_judge(judge, tmp_path / "judge.safetensors")
    state = torch.get_rng_state()
    loaded = load_judge(tmp_path / "judge.safetensors")
    assert torch.equal(state, torch.get_rng_state())
    assert loaded is not None
    assert torch.equal(loaded.features(digits.images[:50]), judge.features(digits.images[:50]))
    assert torch.equal(loaded.probabilities(digits.images[:50]), judge.probabilities(digits.images[:50]))


def test_trained_once(tmp_path: Path, digits: InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    first = judge_for(_few(digits), SPEC, 0, tmp_path / "judges")
    monkeypatch.setattr(module, "fit", lambda *_: pytest.fail("trained twice"))
    assert _same(first, judge_for(_few(digits), SPEC, 0, str(tmp_path / "judges")))
    assert [path.suffix for path in (tmp_path / "judges").iterdir()] == [".safetensors"]


def test_anything_that_matters_makes_another_judge(tmp_path: Path, digits: InMemory) -> None:
    few = _few(digits)
    assert few.labels is not None
    images, labels = few.images.clone(), few.labels.copy()
    images[0, 0, 0, 0] += 1e-6
    labels[0] = 9 - labels[0]
    judge_for(few, SPEC, 0, tmp_path)
    judge_for(few, SPEC, 1, tmp_path)
    judge_for(few, JudgeSpec(epochs=1, features=8), 0, tmp_path)
    judge_for(few, JudgeSpec(epochs=2, features=9), 0, tmp_path)
    judge_for(InMemory(images, few.labels, few.class_names), SPEC, 0, tmp_path)
    judge_for(InMemory(few.images, labels, few.class_names), SPEC, 0, tmp_path)
    judge_for(InMemory(few.images, few.labels, (*few.class_names, 10)), SPEC, 0, tmp_path)
    for variants in (Variants(), Variants(flip=True), Variants(most=1), Variants(most=2)):
        judge_for(few, SPEC, 0, tmp_path, variants=variants)
    assert len(list(tmp_path.iterdir())) == 10


def test_a_runs_judge_is_where_its_worker_computes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, device, asked = recipes.digits(), torch.device("meta"), list[object]()
    monkeypatch.setattr("dualsweep.trainer.engine.assembly.judge_for", lambda *given: asked.append(given[4]))
    prepare(recipe, replace(host_in(recipe, tmp_path), device=device)).judge()
    assert asked == [device]


def test_data_without_two_classes_have_no_judge(tmp_path: Path, digits: InMemory) -> None:
    assert judge_for(InMemory(digits.images[:50]), SPEC, 0, tmp_path) is None
    assert judge_for(InMemory(digits.images[:50], np.zeros(50, dtype=np.int64), ("one", "two")), SPEC, 0, tmp_path) is None
    assert judge_for(InMemory(digits.images[:50], np.arange(50) % 2 - 1, ("one",)), SPEC, 0, tmp_path) is None
    assert not list(tmp_path.iterdir())


def test_without_a_cache_it_is_trained_all_the_same(digits: InMemory) -> None:
    assert _same(judge_for(_few(digits), SPEC, 0, None), judge_for(_few(digits), SPEC, 0, None))


def test_a_broken_file_is_replaced(tmp_path: Path, digits: InMemory, caplog: pytest.LogCaptureFixture) -> None:
    first = judge_for(_few(digits), SPEC, 0, tmp_path)
    (path,) = tmp_path.iterdir()
    for content in (b"", path.read_bytes()[:-100]):
        path.write_bytes(content)
        with caplog.at_level(logging.WARNING):
            assert _same(first, judge_for(_few(digits), SPEC, 0, tmp_path))
        assert "cannot be read" in caplog.text
        assert load_judge(path) is not None


def test_a_cache_that_cannot_be_written_costs_a_warning(
    tmp_path: Path, digits: InMemory, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "taken").write_text("a file where a folder should be")
    with caplog.at_level(logging.WARNING):
        assert judge_for(_few(digits), SPEC, 0, tmp_path / "taken") is not None
    assert "cannot be kept" in caplog.text


def test_without_hard_links_it_is_renamed(tmp_path: Path, digits: InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    first = judge_for(_few(digits), SPEC, 0, tmp_path)
    (path,) = tmp_path.iterdir()
    assert _same(first, load_judge(path))


def test_the_first_to_finish_stays(tmp_path: Path, digits: InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process finishes while this one trains: its judge is taken, ours is dropped."""
    few = _few(digits)
    theirs = judge_for(few, SPEC, 0, None)
    assert isinstance(theirs, ConvJudge)
    with torch.no_grad():
        theirs.head.bias.fill_(1.0)

    def slow(*args: object) -> ConvJudge:
        mine = fit(*args)  # type: ignore[arg-type]  # passed on as they came
        name = f"judge-{module._key(few, few.labels, 10, SPEC, 0)}.safetensors"  # type: ignore[arg-type]  # digits have labels
        save_judge(theirs, tmp_path / name)
        return mine

    monkeypatch.setattr(module, "fit", slow)
    assert _same(theirs, judge_for(few, SPEC, 0, tmp_path))


def _race(folder: str, images: np.ndarray, labels: np.ndarray, start: Barrier, answers: multiprocessing.Queue[float]) -> None:
    torch.set_num_threads(1)
    few = InMemory(torch.from_numpy(images), labels, tuple(range(10)))
    start.wait()
    judge = judge_for(few, SPEC, 0, folder)
    answers.put(sum(float(tensor.double().sum()) for tensor in _weights(judge).values()))


def test_two_processes_race_for_one_cache(tmp_path: Path, digits: InMemory) -> None:
    context = multiprocessing.get_context("spawn")
    few, start = _few(digits), context.Barrier(2)
    answers: multiprocessing.Queue[float] = context.Queue()
    # Numpy crosses the border by value, where a tensor would need shared memory.
    args = (str(tmp_path), few.images.numpy(), few.labels, start, answers)
    racers = [context.Process(target=_race, args=args) for _ in range(2)]
    for racer in racers:
        racer.start()
    checksums = [answers.get(timeout=60) for _ in racers]
    for racer in racers:
        racer.join(timeout=60)
        assert racer.exitcode == 0
    assert checksums[0] == checksums[1]
    (path,) = tmp_path.iterdir()
    assert load_judge(path) is not None


class Own:
    def features(self, x: torch.Tensor) -> torch.Tensor:
        return x.mul_(2.0).flatten(1)

    def probabilities(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1).softmax(dim=1)


class Half:
    def features(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)


def broken() -> Own:
    raise RuntimeError("no weights here")


def large() -> Own:
    raise torch.OutOfMemoryError("CUDA out of memory")


def large_on_the_cpu() -> torch.Tensor:
    return torch.empty(1 << 55)


def test_the_users_own_judge(digits: InMemory) -> None:
    unlabelled = InMemory(digits.images[:5])
    own = judge_for(unlabelled, JudgeSpec(call=f"{__name__}:Own"), 0, None)
    x = digits.images[:3].clone()
    assert own is not None and torch.equal(own.features(x), Own().features(digits.images[:3].clone()))
    assert torch.equal(x, digits.images[:3]), "what it does to its samples is nobody else's"
    with pytest.raises(TrainingError, match=r"test_judge:Half must have.*got a Half without probabilities"):
        judge_for(unlabelled, JudgeSpec(call=f"{__name__}:Half"), 0, None)
    with pytest.raises(TrainingError, match=r"test_judge:broken must not fail, but got RuntimeError: no weights here"):
        judge_for(unlabelled, JudgeSpec(call=f"{__name__}:broken"), 0, None)
    with pytest.raises(torch.OutOfMemoryError):
        judge_for(unlabelled, JudgeSpec(call=f"{__name__}:large"), 0, None)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        judge_for(unlabelled, JudgeSpec(call=f"{__name__}:large_on_the_cpu"), 0, None)


def test_answers_of_a_users_judge_are_checked() -> None:
    class Wrong:
        def features(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean()

        def probabilities(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1) / 0.0

    class Large(Wrong):
        def features(self, x: torch.Tensor) -> torch.Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory")

        def probabilities(self, x: torch.Tensor) -> torch.Tensor:
            return torch.empty(1 << 55)

    class Failing(Wrong):
        def features(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("out of luck")

    images = Rows.of(torch.zeros((6, 1, 2, 2)))
    with pytest.raises(TrainingError, match=r"features\(x\) must be a tensor \[6, any\].*got shape \[\]; fix Wrong\.features"):
        embed(Wrong(), images)
    with pytest.raises(torch.OutOfMemoryError):  # which is no fault of the judge
        embed(Large(), images)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        classify(Large(), images)
    with pytest.raises(TrainingError, match=r"features\(x\) must not fail, but got RuntimeError: out of luck"):
        embed(Failing(), images)
    with pytest.raises(TrainingError, match=r"probabilities\(x\) must be finite.*for 6 of 6 images"):
        classify(Wrong(), images)
