"""geomtp's own weight files: ``model.safetensors``, and ``model.json`` that describes them."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

SUFFIX = ".safetensors"

INFO_ENTRY = "geomtp_info"
"""Entry of the safetensors header that holds the description, as JSON."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside ``path`` to write to; what was written takes the place of ``path`` at the end.

    The change happens at once (fsync, then rename): whoever reads ``path``, even after a crash,
    finds the old file or the new one, each whole. If the block raises, ``path`` stays as it was and
    the half-written file is removed.
    """
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        yield beside
        _to_disk(beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    if os.name == "posix":  # elsewhere a folder cannot be opened
        _to_disk(path.parent)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write ``content`` as JSON to read, whole or not at all (``replacing``)."""
    with replacing(path) as part:
        part.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def save_weights(
    state_dict: Mapping[str, Tensor], path: str | Path, info: Mapping[str, Any]
) -> None:
    """Write weights to ``path`` and their description beside it, as ``.json``.

    An earlier file at ``path`` is replaced only when the new one is whole on the disk. The
    description is stored in both files; the copy in the weights is the one that ``read_weights``
    returns, so the two can never be of different checkpoints. Tensors that share memory are stored
    each for itself.

    Args:
        state_dict: tensors by name, on any device.
        path: ends in ``.safetensors``; its folder is made where it is missing.
        info: what JSON can hold.

    Raises:
        ValueError: another suffix, an entry that is no tensor, or ``info`` that JSON cannot hold.
        OSError: the disk is full or the place cannot be written to; the message says what is kept.
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise ValueError(f"weights are written to a file ending in {SUFFIX}, got {path.name}")
    try:
        text = json.dumps(dict(info), indent=2, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"the description of {path.name} does not fit into JSON: {error}"
        ) from error
    tensors = _tensors_apart(state_dict)
    earlier = path.exists()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path.with_suffix(".json")) as beside, replacing(path) as weights:
            beside.write_text(text + "\n", encoding="utf-8")
            save_file(tensors, weights, metadata={INFO_ENTRY: text})
            weights.chmod(beside.stat().st_mode)  # safetensors would keep them for the owner alone
    except (OSError, SafetensorError) as error:
        kept = "the file there before is kept whole" if earlier else "no file was left there"
        raise OSError(f"could not write {path} ({error}); {kept}") from error


def _tensors_apart(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Dense tensors on the CPU, none of which shares memory with another."""
    apart: dict[str, Tensor] = {}
    seen: set[int] = set()
    for key, value in state_dict.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"weights are tensors, but {key!r} holds {type(value).__name__}")
        tensor = value.detach().cpu().contiguous()
        memory = tensor.untyped_storage().data_ptr()
        apart[key] = tensor.clone() if memory in seen else tensor
        seen.add(memory)
    return apart


def read_weights(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights that ``save_weights`` wrote, and their description.

    Returns:
        The tensors by name, on the CPU, and ``info``. The ``.json`` beside the file is read only
        where the weights carry no description themselves.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, of another kind, or nothing describes it.
    """
    path = Path(path)
    with _opened(path) as file:
        text = (file.metadata() or {}).get(INFO_ENTRY)
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    return tensors, _info_of(path.with_suffix(".json"), text)


def read_description(path: str | Path) -> tuple[dict[str, tuple[int, ...]], dict[str, Any]]:
    """The shapes of the weights by name, and their description: ``read_weights`` without values.

    Raises as ``read_weights``.
    """
    path = Path(path)
    with _opened(path) as file:
        text = (file.metadata() or {}).get(INFO_ENTRY)
        shapes = {
            key: tuple(file.get_slice(key).get_shape())
            for key in file.keys()  # noqa: SIM118
        }
    return shapes, _info_of(path.with_suffix(".json"), text)


def check_is_file(path: Path) -> None:
    """Raise FileNotFoundError unless there is a file of weights at ``path``."""
    if not path.is_file():
        kind = "a folder: name a file in it" if path.is_dir() else "the file does not exist"
        raise FileNotFoundError(f"no weights at {path}: {kind}")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The file, open for reading; raises as ``read_weights``."""
    check_is_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole {SUFFIX} file ({error}): {_hint(path)}") from error


def _hint(path: Path) -> str:
    if path.suffix == SUFFIX:
        return "it was cut short, damaged or is of another kind; copy it again"
    if path.suffix == ".ckpt":
        return "this is the state of a training; the model is the run's model.safetensors"
    return "weights from elsewhere have to be imported first, by geomtp weights import"


def _info_of(sidecar: Path, text: str | None) -> dict[str, Any]:
    if text is None:
        if not sidecar.is_file():
            raise ValueError(
                f"nothing describes the weights beside {sidecar}: expected that file, or weights "
                f"written by geomtp; weights from elsewhere have to be imported first"
            )
        text = sidecar.read_text(encoding="utf-8")
    try:
        info = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{sidecar} is not whole JSON ({error}); copy it again") from error
    if not isinstance(info, dict):
        raise ValueError(f"{sidecar} must hold one JSON object, found {type(info).__name__}")
    return info
