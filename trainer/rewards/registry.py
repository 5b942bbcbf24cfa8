"""The rewards by their words, and the field of a recipe that names one."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, GetJsonSchemaHandler, create_model, model_serializer, model_validator
from pydantic_core import CoreSchema

from dualsweep.trainer.config.diagnostics import RuleError
from dualsweep.trainer.config.wording import nearest, show
from dualsweep.trainer.recipe.base import Section
from dualsweep.trainer.rewards import shipped
from dualsweep.trainer.rewards.spec import RewardSpec

_FORMS = "write a word, `brightness`, or one word with its options, `{jpeg_size: {quality: 80}}`"


def _discovered() -> dict[str, type[RewardSpec]]:
    """Every `RewardSpec` that a module of `shipped` defines, by its word, in the order of the words."""
    by_word: dict[str, type[RewardSpec]] = {}
    for info in pkgutil.iter_modules(shipped.__path__):
        module = import_module(f"{shipped.__name__}.{info.name}")
        for member in vars(module).values():
            if isinstance(member, type) and issubclass(member, RewardSpec) and member.__module__ == module.__name__:
                if member.word in by_word:
                    raise RuleError("", "a reward's word must be unique", f"'{member.word}' twice", "rename one of them")
                by_word[member.word] = member
    return dict(sorted(by_word.items()))


REWARDS: dict[str, type[RewardSpec]] = _discovered()


# A model with a field for each word, so that errors in options have their key and the nearest valid one.
class _Named(Section):
    """One reward, as a recipe names it: a word, or exactly one word with its options."""

    @model_validator(mode="before")
    @classmethod
    def _from_word(cls, value: Any) -> Any:
        if isinstance(value, str):
            if value not in REWARDS:
                remedy = f"write `{{call: {value}}}`" if ":" in value else nearest(value, list(REWARDS))
                raise RuleError("", "must be a known reward", f"{show(value)}", remedy)
            return {value: {}}
        if not isinstance(value, dict | _Named):
            raise RuleError("", "must name a reward", f"{show(value)}", _FORMS)
        return value

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = self._given()
        if len(given) != 1:
            found = " and ".join(f"`{word}`" for word in given) or "none"
            raise RuleError("", "must hold exactly one reward", found, _FORMS)
        return self

    @model_serializer
    def _plain(self) -> dict[str, Any]:
        """The reward as it was written: one that comes to be shipped later does not change how this one is stored."""
        return {self.spec.word: self.spec.model_dump(mode="json", by_alias=True)}

    def _given(self) -> dict[str, RewardSpec]:
        values = {word: getattr(self, word) for word in type(self).model_fields}
        return {word: spec for word, spec in values.items() if spec is not None}

    @property
    def spec(self) -> RewardSpec:
        """The one reward that is named."""
        (spec,) = self._given().values()
        return spec


def _json_schema() -> dict[str, Any]:
    """Words that need no options, or a mapping of one word to its options; without references, so guides show it as a value."""
    options = {word: spec.model_json_schema() for word, spec in REWARDS.items()}
    return {
        "anyOf": [
            {"enum": [word for word, schema in options.items() if not schema.get("required")], "type": "string"},
            {
                "type": "object",
                "properties": {word: _or_short(REWARDS[word], schema) for word, schema in options.items()},
                "additionalProperties": False,
                "minProperties": 1,
                "maxProperties": 1,
            },
        ]
    }


def _or_short(spec: type[RewardSpec], schema: dict[str, Any]) -> dict[str, Any]:
    return schema if spec.short is None else {"anyOf": [schema, schema["properties"][spec.short]]}


class _JsonSchema:
    """The field's JSON schema, made when it is asked for: that of every reward takes longer than reading a recipe."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return _json_schema()


if TYPE_CHECKING:
    Reward = _Named
    RewardField = _Named
else:
    _words = {word: (spec | None, Field(None, description=spec.__doc__)) for word, spec in REWARDS.items()}
    Reward = create_model("Reward", __base__=_Named, __module__=__name__, __doc__=_Named.__doc__, **_words)
    RewardField = Annotated[Reward, _JsonSchema()]
    """The type of a recipe's field that names a reward; its values are `Reward`."""


def resolve(value: Reward | RewardSpec | str | dict[str, Any]) -> RewardSpec:
    """The reward that a recipe's value names, in whichever form it is at hand.

    Raises:
        pydantic.ValidationError: the word or its options are wrong.
    """
    if isinstance(value, RewardSpec):
        return value
    return (value if isinstance(value, _Named) else Reward.model_validate(value)).spec
