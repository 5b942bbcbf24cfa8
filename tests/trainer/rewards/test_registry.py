"""How rewards are found, and how a recipe names one."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field, ValidationError

from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.config.yaml_file import parse, validate
from dualsweep.trainer.recipe.base import Section
from dualsweep.trainer.rewards import registry, shipped
from dualsweep.trainer.rewards.registry import REWARDS, Reward, RewardField, resolve
from dualsweep.trainer.rewards.spec import RewardSpec

OWN = """\
from typing import ClassVar
from dualsweep.trainer.rewards.spec import RewardContext, RewardFunction, RewardSpec

class Redness(RewardSpec):
    word: ClassVar[str] = "{word}"
    differentiable: ClassVar[bool | None] = True

    def build(self, context: RewardContext) -> RewardFunction:
        return lambda x: x[:, 0].mean(dim=(1, 2))
"""


class Holder(Section):
    reward: RewardField | None = None
    rewards: list[RewardField] = Field([])


def read(text: str) -> Holder:
    return validate(Holder, parse(text, "r.yaml"))


def test_every_file_is_a_reward_of_its_name() -> None:
    files = {path.stem for path in Path(str(shipped.__file__)).parent.glob("*.py")} - {"__init__"}
    assert set(REWARDS) == files
    for word, spec in REWARDS.items():
        assert spec.word == word and spec.__doc__ and (spec.extra is None) == (spec.packages == ())


@pytest.fixture
def more_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(shipped, "__path__", [*shipped.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, f"{shipped.__name__}.redness", raising=False)
    yield tmp_path
    sys.modules.pop(f"{shipped.__name__}.redness", None)


def test_one_more_file_is_one_more_reward(more_files: Path) -> None:
    (more_files / "redness.py").write_text(OWN.format(word="redness"))
    found = registry._discovered()
    assert set(found) - set(REWARDS) == {"redness"} and list(found) == sorted(found)


def test_two_rewards_of_one_word_are_refused(more_files: Path) -> None:
    (more_files / "redness.py").write_text(OWN.format(word="brightness"))
    with pytest.raises(ValueError, match="must be unique, but got 'brightness' twice"):
        registry._discovered()


def test_naming_a_reward_imports_nothing_heavy() -> None:
    code = (
        "import sys; import dualsweep.trainer.rewards.registry as r, dualsweep.trainer.rewards.checking as c;"
        "print(list(c.problems(r.resolve({'jpeg_size': {}}), (3, 8, 8), None, ())));"
        "print([name for name in ('torch', 'numpy', 'PIL', 'transformers', 'diffusers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n[]\n"


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("brightness", {"brightness": {}}),
        ("{brightness: {}}", {"brightness": {}}),
        ("jpeg_size", {"jpeg_size": {"quality": 95}}),
        ("{jpeg_size: {quality: 80}}", {"jpeg_size": {"quality": 80}}),
        ("{call: my.rewards:f}", {"call": {"path": "my.rewards:f"}}),
        ("{call: {path: my.rewards:f}}", {"call": {"path": "my.rewards:f"}}),
        ("{class_probability: 4}", {"class_probability": {"class": 4, "log": False}}),
        ("{class_probability: {class: four, log: true}}", {"class_probability": {"class": "four", "log": True}}),
    ],
)
def test_every_way_to_write_one_and_the_one_way_it_is_stored(text: str, stored: dict[str, Any]) -> None:
    holder = read(f"reward: {text}\nrewards: [{text}, contrast]")
    assert holder.model_dump() == {"reward": stored, "rewards": [stored, {"contrast": {}}]}
    assert Holder.model_validate(holder.model_dump()) == holder
    assert Holder.model_validate_json(holder.model_dump_json()) == holder
    assert pickle.loads(pickle.dumps(holder)) == holder
    assert holder.reward is not None
    spec = holder.reward.spec
    assert resolve(holder.reward) is resolve(spec) is spec and resolve(stored) == spec
    assert isinstance(spec, REWARDS[next(iter(stored))]) and isinstance(spec, RewardSpec)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "reward: brightnes",
            "r.yaml:1: reward: must be a known reward, but got 'brightnes'; did you mean `brightness`? Valid: ",
        ),
        ("reward: my:f", "reward: must be a known reward, but got 'my:f'; write `{call: my:f}`"),
        ("reward:\n  brightnes: {}", "r.yaml:2: reward.brightnes: must be a known key, but got `brightnes`; did you mean `br"),
        ("reward: 3", "reward: must name a reward, but got 3; write a word, `brightness`, or one word with its options"),
        ("reward: {}", "reward: must hold exactly one reward, but got none; write a word"),
        ("reward: {contrast: {}, brightness: {}}", "exactly one reward, but got `brightness` and `contrast`; write a word"),
        ("reward:\n  jpeg_size:\n    qualty: 3", "r.yaml:3: reward.jpeg_size.qualty: must be a known key, but got `qualty`; did"),
        ("reward:\n  jpeg_size: {quality: 96}", "reward.jpeg_size.quality: must be less than or equal to 95, but got 96; write"),
        ("reward: {brightness: {window: 3}}", "reward.brightness.window: must be a known key, but got `window`; valid: none"),
        ("reward: {local_contrast: {window: 1}}", "reward.local_contrast.window: must be greater than or equal to 2, but got 1"),
        ("reward: class_probability", "reward.class_probability.class: is required, but got nothing"),
        ("reward: {clip_score: {prompt: a}}", "reward.clip_score.model: is required, but got nothing; write a local directory"),
        ("reward: {call: ab}", "reward.call: must be an import path, `module:name`"),
        ("rewards:\n  - contrast\n  - contrst", "r.yaml:3: rewards.1: must be a known reward, but got 'contrst'; did you mean"),
    ],
)
def test_errors_name_the_key_the_value_and_the_way_out(text: str, message: str) -> None:
    with pytest.raises(InputError) as raised:
        read(text)
    assert len(raised.value.diagnostics) == 1 and message in str(raised.value)


def test_the_json_schema_has_every_word_and_no_reference() -> None:
    field = Holder.model_json_schema()["properties"]["rewards"]["items"]
    words, mapping = field["anyOf"]
    assert "$ref" not in str(field)
    assert set(mapping["properties"]) == set(REWARDS)
    plain = {"brightness", "contrast", "local_contrast", "saturation", "colourfulness", "jpeg_size"}
    assert set(words["enum"]) == plain | {"pick_score", "hps", "image_reward"}
    for word in words["enum"]:
        assert resolve(word).word == word
    for word in set(REWARDS) - set(words["enum"]):
        with pytest.raises(ValidationError):
            resolve(word)
    assert mapping["properties"]["jpeg_size"]["properties"]["quality"]["maximum"] == 95
    assert {each.get("type") for each in mapping["properties"]["call"]["anyOf"]} == {"object", "string"}


def test_a_reward_is_frozen() -> None:
    with pytest.raises(ValidationError):
        Reward.model_validate("jpeg_size").spec.quality = 3  # type: ignore[attr-defined]
