"""A recipe and flags into one typed dataclass."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from jsonargparse import ArgumentError, ArgumentParser

Settings = TypeVar("Settings")

LISTED = (
    *("tasks", "sources", "classes", "fractions", "seeds", "pretraining_seeds"),
    *("use_ladders", "use_rungs", "use_transfers"),
    *("scales", "flips", "bands", "train_splits", "drops_at", "square_classes"),
    *("mean", "std", "crop_area", "crop_side_px", "view_area", "resize_range", "change_channels"),
    "allowed_hosts",
)
"""Flags that take names or numbers separated by commas."""

_INNER = re.compile(r'"(\w+)".*class_path \'([\w.]+)\'.*Option \'(\w+)[\w.]*\' is not accepted')
"""What the parser says of an unknown field of a dataclass in a field."""


def recipe_names() -> list[str]:
    """The recipes that come with the package, without ``.yaml``."""
    return sorted(_recipes())


def finetune_recipes() -> list[str]:
    """Those of fine-tuning, one for each public data set."""
    return sorted(_recipes_in(files("geomtp.recipes") / "finetune"))


def _recipes() -> dict[str, Traversable]:
    folder = files("geomtp.recipes")
    return {**_recipes_in(folder), **_recipes_in(folder / "finetune")}


def _recipes_in(folder: Traversable) -> dict[str, Traversable]:
    found = [file for file in folder.iterdir() if file.name.endswith(".yaml")]
    return {file.name.removesuffix(".yaml"): file for file in found}


def recipe_text(name: str) -> str:
    """The text of a recipe: one of the package by name, or a file by path.

    Raises FileNotFoundError naming the known ones.
    """
    bare = name.removesuffix(".yaml")
    if Path(name).is_file():
        return Path(name).read_text(encoding="utf-8")
    known = _recipes()
    if bare not in known:
        raise FileNotFoundError(
            f"no recipe {name!r}: neither a file nor one of {', '.join(recipe_names())}"
        )
    return known[bare].read_text(encoding="utf-8")


def recipe_title(name: str) -> str:
    """The first comment line of a recipe."""
    return recipe_text(name).splitlines()[0].lstrip("# ")


def parser_of(kind: type[Settings], program: str) -> ArgumentParser:
    """A parser with a flag for each field of ``kind``, and ``--config``."""
    parser = ArgumentParser(prog=program, exit_on_error=False, description=_first_line(kind))
    parser.add_argument("--config", help="a recipe: a name (see `geomtp recipes`) or a YAML file")
    parser.add_class_arguments(kind, as_group=False)
    return parser


def fill(kind: type[Settings], arguments: Sequence[str], program: str) -> Settings:
    """The settings of a run, from ``--config`` (if given) and flags, which override it.

    Raises ValueError in one sentence: an unknown field names the nearest known one, a value of the
    wrong type says what was expected. Raises FileNotFoundError for an unknown recipe.
    """
    parser = parser_of(kind, program)
    flags = _as_values(list(arguments), kind)
    recipe, flags = _taken_out(flags, "--config")
    try:
        base = None
        if recipe is not None:
            encoder, _ = _taken_out(flags, "--encoder")
            base = parser.parse_object(_read(recipe, kind, encoder), defaults=True)
        filled = parser.instantiate(parser.parse_args(flags, namespace=base))
    except ArgumentError as error:
        raise ValueError(_sentence(str(error), kind)) from None
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    return kind(**{name: filled[name] for name in names})


def fill_or_help(
    kind: type[Settings], words: Sequence[str], program: str, examples: str
) -> Settings | None:
    """What ``fill`` makes of the words of a command; None where they ask for help.

    The help is printed then, and ``examples`` below it. Raises as ``fill``.
    """
    if {"-h", "--help"} & set(words):
        parser_of(kind, program).print_help()
        print(f"\n{examples}")
        return None
    return fill(kind, words, program)


def fill_values(
    kind: type[Settings], values: Mapping[str, Any], recipe: str | None, place: str
) -> Settings:
    """The settings of a run from ``values`` by field, which override those of a ``recipe``.

    ``place``: where the values stand, for messages. Raises as ``fill``.
    """
    known = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            raise ValueError(f"{place}: unknown field {name!r}; {_nearest(str(name), known)}")
    base = {} if recipe is None else _read(recipe, kind, values.get("encoder"))
    parser = parser_of(kind, place)
    try:
        filled = parser.instantiate(
            parser.parse_object(_plain_sources({**base, **values}), defaults=True)
        )
    except ArgumentError as error:
        raise ValueError(f"{place}: {_sentence(str(error), kind)}") from None
    try:
        return kind(**{name: filled[name] for name in known})
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


def _read(recipe: str, kind: type, encoder: str | None) -> dict[str, Any]:
    """The fields of a recipe, with what it says under ``encoders`` of the chosen one.

    Raises ValueError for what is no mapping, or an unknown field.
    """
    try:
        values = yaml.safe_load(recipe_text(recipe))
    except yaml.YAMLError as error:
        raise ValueError(f"{recipe} is not valid YAML: {error}".replace("\n", " ")) from None
    if not isinstance(values, dict):
        raise ValueError(f"{recipe} must map fields to values, found {type(values).__name__}")
    known = [field.name for field in dataclasses.fields(kind)]
    differing = values.pop("encoders", {})
    if not isinstance(differing, dict) or not all(isinstance(d, dict) for d in differing.values()):
        raise ValueError(f"{recipe}: encoders must map names of encoders to fields and values")
    values |= differing.get(encoder or values.get("encoder"), {})
    for name in values:
        if name not in known:
            raise ValueError(f"{recipe}: unknown field {name!r}; {_nearest(str(name), known)}")
    return _plain_sources(values)


def _plain_sources(values: dict[str, Any]) -> dict[str, Any]:
    """``values`` in which a source of which nothing is said is an empty mapping."""
    if not isinstance(values.get("sources"), Mapping):
        return values
    sources = {name: source or {} for name, source in values["sources"].items()}
    return {**values, "sources": sources}


def _as_values(arguments: list[str], kind: type) -> list[str]:
    """Flags as the parser takes them.

    "--some-name value" becomes "--some_name=value", a bare "--resume" is true, lists of names may
    be separated by commas, and several paths by spaces.
    """
    switches = {f"--{field.name}" for field in dataclasses.fields(kind) if field.type == "bool"}
    paths = {f"--{f.name}" for f in dataclasses.fields(kind) if f.type == "tuple[Path, ...]"}
    joined: list[str] = []
    rest = iter(range(len(arguments)))
    for index in rest:
        flag = arguments[index]
        following = arguments[index + 1] if index + 1 < len(arguments) else None
        if flag.startswith("--"):
            name, equals, value = flag.partition("=")
            flag = name[:2] + name[2:].replace("-", "_") + equals + value
        name, equals, value = flag.partition("=")
        if name in paths and not value.startswith("["):
            more = list(itertools.takewhile(_is_value, arguments[index + 1 :]))
            given = [value, *more] if equals else more
            joined.append(f"{name}={json.dumps(given, ensure_ascii=False)}")
            next(itertools.islice(rest, len(more), len(more)), None)  # passed over
            continue
        if flag.startswith("--") and "=" not in flag:
            if following is not None and not following.startswith("--"):
                flag = f"{flag}={following}"
                next(rest)
            elif flag in switches:
                flag = f"{flag}=true"
        joined.append(_listed(flag))
    return joined


def _is_value(word: str) -> bool:
    return not word.startswith("--")


def _listed(flag: str) -> str:
    name, _, value = flag.partition("=")
    if not flag.startswith("--") or name.lstrip("-") not in LISTED:
        return flag
    if value.startswith(("[", "{")) or value == "null":
        return flag
    if name == "--sources":
        return f"{name}={{{', '.join(f'{item}: {{}}' for item in value.split(','))}}}"
    return f"{name}=[{value}]"


def _taken_out(flags: list[str], name: str) -> tuple[str | None, list[str]]:
    """The value of the flag ``name``, if there is one, and the other flags."""
    values = [flag.partition("=")[2] for flag in flags if flag.partition("=")[0] == name]
    return (values[-1] if values else None), [f for f in flags if f.partition("=")[0] != name]


def _sentence(message: str, kind: type) -> str:
    """What the parser complains of, in one line, with the nearest known name."""
    text = " ".join(message.split())
    if inner := _INNER.search(text):
        place, path, name = inner.groups()
        module, _, of = path.rpartition(".")
        fields = dataclasses.fields(getattr(importlib.import_module(module), of))
        return f"{place}: unknown field {name!r}; {_nearest(name, [f.name for f in fields])}"
    known = [field.name for field in dataclasses.fields(kind)]
    for word in text.replace("=", " ").replace("'", " ").split():
        bare = word.lstrip("-")
        if "unrecognized" in text and word.startswith("--"):
            near = difflib.get_close_matches(bare, known, n=1)
            if near and bare not in known:
                return f"{text}; {_nearest(bare, known)}"
    return text


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").splitlines()[0]
