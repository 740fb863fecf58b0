"""The typed config of a training run: YAML with key.sub=value overrides; unknown keys are refused."""

import copy
import difflib
import glob
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any, TypeVar, Union

from pydantic import BaseModel, Discriminator, Field, Tag, ValidationError, create_model

from equitensor.data import formats
from equitensor.data.yaml_values import parse_yaml
from equitensor.errors import InputError
from equitensor.graph.labels import labels, version
from equitensor.models import architectures
from equitensor.models.architectures import DEFAULT
from equitensor.settings import left_out
from equitensor.training.config_sections import (
    REPLAY,
    TEST,
    TRAIN,
    VALID,
    DataConfig,
    LossConfig,
    ModelConfig,
    Replay,
    Section,
    Source,
    TrainConfig,
)

_S = TypeVar("_S", bound=Section)


class Config(Section):
    """The config of a run."""

    data: DataConfig = Field(description="data: where they are, how they are read, what is held out")
    model: ModelConfig = Field(ModelConfig(), description="the architecture and its settings")
    train: TrainConfig = Field(TrainConfig(), description="duration, optimiser, precision, device")
    loss: LossConfig = Field(LossConfig(), description="weights of the errors")
    seed: int = Field(0, ge=0, lt=2**32, description="seed of initial weights, the split and the order of structures")
    output: str = Field("runs/train", description="folder of the run, which must be empty or not exist yet")

    def resolved(self) -> dict:
        return self.model_dump(mode="json")


def config_class(architecture: str | None = None) -> type[Config]:
    """The config, composed of what the table of labels, the formats and the architectures declare.

    architecture: of those that installed packages bring take, and import, this one only. Raises InputError where there
    is none of that name.
    """
    known = architectures.ARCHITECTURES
    names = known.usable() if architecture is None else (*known.here(), architecture)
    return _config_class(version(), tuple((name, known.find(name)) for name in dict.fromkeys(names)), formats.names())


@lru_cache(maxsize=4)
def _config_class(_version: int, named: tuple[tuple[str, type], ...], _formats: tuple) -> type[Config]:
    loss, model = _loss_section(), _model_section(tuple(name for name, _ in named))
    return _with_keys(Config, {"data": (_data_section(), ...), "model": (model, model()), "loss": (loss, loss())})


def _kind_of_source(value) -> str:
    if isinstance(value, list):
        return "<list>"
    if isinstance(value, Source) or (isinstance(value, dict) and "path" in value):
        return "<source>"
    return "<names>" if isinstance(value, dict) else "<path>"


def _with_keys(section: type[_S], keys: dict[str, Any]) -> type[_S]:
    """The section with further or other keys, each (type, Field or default)."""
    return create_model(section.__name__, __base__=section, **keys)


def _reading(section: type[_S]) -> type[_S]:
    """The section with the options of all formats."""
    return _with_keys(section, formats.all_settings())


def _data_section() -> type[DataConfig]:
    """With the options of all formats, for all data and for each source."""
    source = _reading(Source)

    def one_of(**kinds):
        tagged = tuple(Annotated[kind, Tag(f"<{tag}>")] for tag, kind in kinds.items())
        return Annotated[Union[tagged], Discriminator(_kind_of_source)]  # noqa: UP007 (made of a tuple)

    one = one_of(path=str, source=source)
    several = {"path": str, "source": source, "list": GenericAlias(list, (one,))}
    keys = {
        "train": (one_of(**several), Field(description=TRAIN)),
        "valid": (one_of(**several) | None, Field(None, description=VALID)),
        "test": (one_of(**several, names=GenericAlias(dict, (str, one))) | None, Field(None, description=TEST)),
        "replay": (_reading(Replay) | None, Field(None, description=REPLAY)),
    }
    return _with_keys(DataConfig, keys | formats.all_settings())


def _model_section(names: tuple[str, ...]) -> type[ModelConfig]:
    declared = left_out([architectures.settings(name) for name in names])
    own = {name: field for name, field in declared.items() if name not in ModelConfig.model_fields}
    return _with_keys(ModelConfig, own)


def _loss_section() -> type[LossConfig]:
    """With the weights of all labels."""
    fields = {}
    for label in labels():
        counted = f"{label.quantity.name.replace('_', ' ')} ({label.quantity.unit})"
        fields[label.name] = (float, Field(label.weight, ge=0, description=f"weight of squared errors of {counted}"))
        if label.late is not None:
            fields[f"{label.name}_late"] = (float, Field(label.late, ge=0, description="the same in the late stage"))
    return _with_keys(LossConfig, fields)


def load_config(source: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> Config:
    """The config of a YAML file, or of an equivalent mapping, with overrides "key.sub=value" (YAML, also null).

    Raises InputError for anything wrong, naming the file, the key and the closest known key.
    """
    values = copy.deepcopy(dict(source)) if isinstance(source, Mapping) else _read(Path(source))
    for override in overrides:
        _override(values, override)
    return validate(values, "config" if isinstance(source, Mapping) else str(source))


def _read(path: Path) -> dict:
    if not path.is_file():
        raise InputError(f"{path}: there is no such config file")
    try:
        values = parse_yaml(path.read_text()) or {}
    except ValueError as error:
        raise InputError(f"{path} is not YAML: {error}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: a config is a mapping with sections such as data, model, train")
    return {key: value for key, value in values.items() if value is not None}  # a section with nothing in it


def validate(values: dict, origin: str) -> Config:
    """A Config of plain values; `origin` is named in errors."""
    try:
        declared = config_class(_architecture(values))
    except InputError as error:
        raise InputError(f"{origin}: {error}") from None
    try:
        return declared.model_validate(values)
    except ValidationError as error:
        lines = [_explain(problem, declared) for problem in _once_each(error.errors())]
        raise InputError(f"{origin}: " + "; ".join(lines)) from None


def _architecture(values: dict) -> str:
    """The name of the architecture that a config asks for."""
    section = values.get("model")
    name = section.get("architecture") if isinstance(section, dict) else None
    return name if isinstance(name, str) else DEFAULT


def _override(values: dict, text: str) -> None:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise InputError(f"override {text!r} is not of the form key.sub=value")
    *sections, last = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise InputError(f"override {text!r}: {section} is a value, not a section")
    try:
        values[last] = parse_yaml(value)
    except ValueError as error:
        if not glob.has_magic(value):
            raise InputError(f"override {text!r}: {error}") from None
        values[last] = value  # */md.xyz would be an alias


def _once_each(problems: Sequence[Mapping[str, Any]]) -> list[dict]:
    """Of a key that may be of several types, the problem with the one that fits best, without the types' names."""
    best: dict[tuple, dict] = {}
    for problem in problems:
        where = tuple(part for part in problem["loc"] if not re.fullmatch(r"<.*>|str|(list|dict)\[.*", str(part)))
        key = where[:2]
        if key not in best or len(where) > len(best[key]["loc"]):
            best[key] = {**problem, "loc": where}
    return list(best.values())


def _section_below(section: type[BaseModel], part) -> type[BaseModel]:
    """The model of a key's value; below data.train and the like that of a source."""
    kind = section.model_fields[part].annotation if part in section.model_fields else None
    if part == "replay":
        kind = _reading(Replay)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    return _reading(Source)


def _explain(problem: dict[str, Any], section: type[BaseModel]) -> str:
    where = problem["loc"]
    key = ".".join(str(part) for part in where)
    if problem["type"] == "extra_forbidden":
        for part in where[:-1]:
            section = _section_below(section, part)
        close = difflib.get_close_matches(str(where[-1]), section.model_fields, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}?" if close else "known keys: " + ", ".join(section.model_fields)
        return f"unknown key {key}: {hint}"
    if problem["type"] == "missing":
        return f"{key} is missing"
    if problem["type"] == "union_tag_invalid":
        return f"{key}: a mapping that names data needs a path (got {problem['input']!r})"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{key}: {message[0].lower()}{message[1:]} (got {problem['input']!r})"
