"""The catalogue: one YAML file per task, read with a safe loader and checked key by key."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks._errors import TaskError, did_you_mean
from tasks._task import HubSource, Task

CATALOGUE = Path(__file__).parent / "catalogue"
MAX_BYTES = 1 << 18
"""A longer file is no task file; YAML takes a second for so much."""

_TYPES: Mapping[str, type] = {
    "name": str,
    "version": int,
    "form": str,
    "title": str,
    "description": str,
    "fields": list,
    "labels": list,
    "label_words": list,
    "template": str,
    "metric": str,
    "label_field": str,
    "label_aliases": dict,
    "labels_from": dict,
    "compose": dict,
    "mark": dict,
    "group": list,
    "value_range": list,
    "value_step": float,
    "drop_unlabelled": bool,
    "max_length": int,
    "hub": dict,
}
_NEEDED = {"name", "version", "form", "title", "description", "fields", "template", "metric"}
_OPTIONAL = set(_TYPES) - _NEEDED
_HUB_TYPES: Mapping[str, type] = {"path": str, "name": str, "revision": str, "splits": dict}
_HUB_OPTIONAL = {"name", "revision"}


def task_names() -> list[str]:
    """Return the names of the tasks in the catalogue, sorted."""
    return sorted(path.stem for path in CATALOGUE.glob("*.yaml"))


def load_task(name: str | Path) -> Task:
    """Return the task of that name in the catalogue, or the one in a YAML file given by its path.

    Raises:
        TaskError: where the name is unknown, or the file is missing or wrong.
    """
    text = str(name)
    if isinstance(name, Path) or text.endswith((".yaml", ".yml")) or "/" in text or "\\" in text:
        path = Path(name)
        if not path.is_file():
            raise TaskError(f"no task file {text!r}: give the path of a YAML file, or one of {', '.join(task_names())}")
        return _read(path)
    if text not in task_names():
        raise TaskError(
            f"unknown task {text!r}{did_you_mean(text, task_names())}: see `orchestrator tasks list`,"
            " or give the path of a task's YAML file"
        )
    return _catalogued(text)


@functools.cache
def _catalogued(name: str) -> Task:
    return _read(CATALOGUE / f"{name}.yaml")


def _read(path: Path) -> Task:
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise TaskError(f"the file has {size} bytes: a task file has at most {MAX_BYTES}")
        return parse_task(path.read_text(encoding="utf-8"), path.stem)
    except (TaskError, OSError, UnicodeDecodeError) as error:
        raise TaskError(f"{path}: {error}") from None


def parse_task(text: str, stem: str) -> Task:
    """Return the task that a YAML text describes; ``stem`` is the file's name without its ending.

    Raises:
        TaskError: where the text is not YAML, or not a task of that name.
    """
    content = _safe_load(text)
    _check_keys(content, _TYPES, _OPTIONAL, "")
    if content["name"] != stem:
        raise TaskError(f"name is {content['name']!r}: it must be the file's, {stem!r}")
    values = dict(content)
    for key in ("fields", "labels", "label_words", "group"):
        if key in content:
            values[key] = _strings(content[key], key)
    for key in ("label_aliases", "compose", "mark"):
        if key in content:
            _strings([*content[key], *content[key].values()], key)
    for source, names in content.get("labels_from", {}).items():
        _check_type(names, dict, f"labels_from.{source}")
        _strings([source, *names, *names.values()], "labels_from")
    if "value_range" in content:
        values["value_range"] = _numbers(content["value_range"], "value_range")
    if "hub" in content:
        _check_keys(content["hub"], _HUB_TYPES, _HUB_OPTIONAL, "hub.")
        _strings([*content["hub"]["splits"], *content["hub"]["splits"].values()], "hub.splits")
        values["hub"] = HubSource(**content["hub"])
    return Task(**values)


def _safe_load(text: str) -> Any:
    """What a YAML text holds, without aliases: a few lines of them can stand for more than fits into memory."""
    import yaml

    try:
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text, yaml.SafeLoader)):
            raise TaskError("it has an alias (*name), which task files may not have: write the value out")
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise TaskError(f"not a YAML file: {error}") from None
    except (ValueError, AttributeError, LookupError, RecursionError) as error:  # a date, a number, a tag, or nesting
        if isinstance(error, TaskError):
            raise
        raise TaskError(f"not a YAML file that can be read: {type(error).__name__}: {str(error)[:200]}") from None


def _check_keys(content: Any, types: Mapping[str, type], optional: set[str], prefix: str) -> None:
    if not isinstance(content, dict):
        raise TaskError(f"{prefix or 'the file '}must hold keys and values, got {type(content).__name__}")
    for key, value in content.items():
        if key not in types:
            raise TaskError(
                f"unknown key {prefix + str(key)!r}{did_you_mean(str(key), types)}: keys are {', '.join(types)}"
            )
        _check_type(value, types[key], prefix + str(key))
    missing = [key for key in types if key not in content and key not in optional]
    if missing:
        raise TaskError(
            f"missing key {prefix + missing[0]!r}: needed are {', '.join(k for k in types if k not in optional)}"
        )


def _check_type(value: Any, wanted: type, key: str) -> None:
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        raise TaskError(f"{key} must be of type {wanted.__name__}, got {value!r}")


def _numbers(values: list[Any], key: str) -> tuple[float, float]:
    if len(values) != 2 or not all(type(value) in (int, float) for value in values):
        raise TaskError(f"{key} must hold two numbers, the least and the greatest, got {values!r}")
    try:
        return float(values[0]), float(values[1])
    except OverflowError:
        raise TaskError(f"{key} must hold numbers that fit into 64 bits, got {values!r}") from None


def _strings(values: list[Any], key: str) -> tuple[str, ...]:
    for value in values:
        if not isinstance(value, str) or not value.strip():
            raise TaskError(f"{key} must hold strings, got {value!r}: put words such as yes, no, true or 0 in quotes")
    return tuple(values)
