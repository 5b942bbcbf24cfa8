"""What one worker does, whoever hosts it: data, model, the loop, and the evaluation of what came out."""

from __future__ import annotations

import json
import posixpath
from functools import partial

from dualsweep.trainer.config import yaml_core
from dualsweep.trainer.data.description import description
from dualsweep.trainer.data.faults import BadDataError
from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.engine.assembly import Prepared, prepare
from dualsweep.trainer.engine.final_evaluation import evaluate
from dualsweep.trainer.engine.host import Host
from dualsweep.trainer.engine.loop import Loop
from dualsweep.trainer.engine.own_draws import own_draws
from dualsweep.trainer.engine.room import room_for
from dualsweep.trainer.evaluation.metrics import resolve
from dualsweep.trainer.feasibility.stages import last_look
from dualsweep.trainer.models.export import stored_files
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.recipe.share import Share
from dualsweep.trainer.result import Result
from dualsweep.trainer.storage import DATA, LOOKS, RESULT, look_name, write_files
from dualsweep.trainer.terms.shipped.share import among_faults


def run_worker(recipe: Recipe, host: Host, output: str, judges: str | None = None) -> Result | None:
    """One whole training as worker `host.rank` sees it; the result on rank 0, None elsewhere.

    Rank 0 writes `samples.npy`, `samples.png`, `data.json` and, last of all, `result.json` to `output`, a folder or fsspec URI;
    `judges` is the local folder in which trained judges are kept for other runs. The last report carries the result.

    Raises:
        TrainingError: the model, the data or a user's part is unusable, for a reason that trying again won't fix.
    """
    resolve(recipe.evaluation.metrics)  # a wrong import path must cost no training
    with room_for("the model", recipe), own_draws(recipe.seed, "preparation"):
        prepared = prepare(recipe, host, judges)
    _check_shares(prepared)
    loop = Loop(prepared, partial(_files, prepared), partial(_keep, output))
    with room_for("a primal step", recipe):
        trained = loop.run()
    with room_for("the evaluation", recipe), own_draws(recipe.seed, "evaluation"):
        evaluation = evaluate(prepared, prepared.policy, trained, loop.enter)
    loop.enter("writing")
    host.checkpoints.flush()
    loop.wait()  # so that a training with a result has lost no point: it is never continued
    if evaluation is None:
        loop.report(result=None)
        return None
    result = evaluation.result
    loop.add_final(result.metrics)
    if evaluation.kept:  # checkpoints are moved about, and asked for budgets
        write_files(host.checkpoints.path(result.steps), evaluation.kept)
    write_files(output, {**evaluation.files, **_data(prepared), RESULT: json.dumps(result.to_json(), indent=2).encode()})
    loop.report(result=result.to_json())
    return result


def _check_shares(prepared: Prepared) -> None:
    """Raises BadDataError where a share is among prompts of which no draw of a final value is."""
    recipe, texts = prepared.recipe, prepared.primal.predictor.texts
    shares = [(each.value, each.keys) for each in recipe.terms if isinstance(each.value, Share)]
    if faults := [one for each, keys in shares for one in among_faults(each, texts, keys, last_look(recipe))]:
        raise BadDataError(*faults)


def _keep(output: str, step: int, picture: bytes) -> None:
    write_files(posixpath.join(output, LOOKS), {look_name(step): picture})


def _data(prepared: Prepared) -> dict[str, bytes]:
    asked = prepared.recipe.data
    return {} if prepared.data is None or asked is None else {DATA: description(prepared.data, asked)}


def _files(prepared: Prepared, weights: Vector) -> dict[str, bytes]:
    """The small files of a checkpoint, and what diffusers reads of the averaged weights."""
    plain = prepared.recipe.model_dump(mode="json")
    with prepared.primal.whole(weights) as predictor:
        stored = stored_files(predictor, prepared.schedule) if predictor is not None else {}
        return {"recipe.yaml": yaml_core.write(plain).encode(), **stored}
