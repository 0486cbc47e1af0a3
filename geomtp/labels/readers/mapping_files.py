"""Small YAML or JSON files that hold one mapping, read without trusting them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

_LARGEST_BYTES = 2**20


def read_mapping(path: Path) -> dict[Any, Any]:
    """The mapping in a JSON file (suffix ``.json``) or else a YAML file.

    Raises FileNotFoundError, or ValueError for a file above 1 MB (a list of names is never that
    large), that is neither, holds no mapping, or repeats a key.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: expected a YAML or JSON file")
    if path.stat().st_size > _LARGEST_BYTES:
        raise ValueError(f"{path} is larger than 1 MB: expected a short YAML or JSON file of names")
    try:
        if path.suffix.lower() == ".json":
            content = json.loads(path.read_bytes(), object_pairs_hook=_distinct)
        else:
            content = yaml.load(path.read_bytes(), _PlainLoader)
    except (  # what the two libraries raise over files that are none of theirs
        yaml.YAMLError,
        ValueError,
        TypeError,
        AttributeError,
        LookupError,
        OverflowError,
        RecursionError,
    ) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{path} is no valid YAML or JSON: {reason}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, expected lines 'key: value'")
    return content


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{next(key for key in keys if keys.count(key) > 1)!r} occurs twice")
    return content


class _PlainLoader(yaml.SafeLoader):
    """Plain YAML: no merge keys, which can be nested into a bomb, and no key twice."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Leave ``<<`` as it is; it is then refused as a value of no known kind."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            raise ValueError(f"a key occurs twice{node.start_mark}")
        return mapping
