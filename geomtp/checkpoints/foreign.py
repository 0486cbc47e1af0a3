"""Reading weights of other programs, without ever running code that a file asks for."""

from __future__ import annotations

import pickle
import pickletools
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from geomtp.checkpoints.files import check_is_file

SKIPPED_PACKAGES = ("mmengine", "mmcv", "argparse", "pathlib")
"""Objects of these packages lie beside the weights in official files: logs of the OpenMMLab
frameworks, command lines of MAE. ``Skipped`` takes their place; the packages are not touched."""

PLAIN_OBJECTS = re.compile(
    r"torch\.\w+|torch\.(_utils|_tensor|storage|nn\.parameter)\.\w+|_codecs\.encode"
    r"|numpy\.(ndarray|dtype|dtypes\.\w+|_?core\.multiarray\.(_reconstruct|scalar))"
    r"|collections\.(OrderedDict|Counter)"
)
"""The names that files of plain weights hold; only to say of a refused file what was wrong."""


class Skipped:
    """Stands for an object that is not needed; takes everything, keeps nothing, does nothing."""

    def __new__(cls, *arguments: Any) -> Skipped:
        """An empty stand-in, whatever the object was to be made of."""
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        """Forget the object's content."""


def read_foreign(path: str | Path) -> dict[str, Tensor]:
    """The weights in a ``.safetensors``, ``.pth``, ``.pt`` or ``.ckpt`` file.

    Of a file with several parts, ``state_dict`` is taken, else ``model``, else the whole; a leading
    ``module.`` of the keys is removed (spec: checkpoints). Besides tensors, PyTorch files may hold
    plain values and numpy arrays (official MTP files carry their loss history so). Nothing is
    unpickled but these: objects of ``SKIPPED_PACKAGES`` are passed over, files that ask for any
    other object or function are refused.

    Returns:
        Tensors by key, on the CPU; entries that are no tensors are left out.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, of another kind, refused, or holds no tensors.
    """
    path = Path(path)
    check_is_file(path)
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    weights = content
    for part in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(part), Mapping):
            weights = content[part]
            break
    tensors = {}
    if isinstance(weights, Mapping):
        # cloned: the file stays open only for what is used, not for an optimizer's state
        tensors = {
            str(key).removeprefix("module."): value.detach().clone()
            for key, value in weights.items()
            if isinstance(value, Tensor)
        }
    if not tensors:
        found = type(weights).__name__
        if isinstance(weights, Mapping):
            found = (
                f"entries {', '.join(map(repr, list(weights)[:8]))}" if weights else "no entries"
            )
        raise ValueError(f"{path} holds no weights: expected tensors by name, found {found}")
    return tensors


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(
            f"{path} is not a whole .safetensors file ({error}): it was cut short, damaged or is "
            f"of another kind; copy it again"
        ) from error


def _read_torch(path: Path) -> Any:
    """The content of a file by ``torch.save``, through PyTorch's restricted unpickler.

    ``weights_only`` resolves names in a fixed table and imports nothing; here the table also has
    numpy's arrays, and stand-ins for the objects to be passed over.
    """
    is_zip = zipfile.is_zipfile(path)
    named = _named_objects(path, is_zip)
    skipped = sorted(name for name in named if name.split(".")[0] in SKIPPED_PACKAGES)
    allowed = [*_numpy_objects(), *((Skipped, name) for name in skipped)]
    if skipped:
        allowed.append((_attribute_of_skipped, "builtins.getattr"))
    try:
        with torch.serialization.safe_globals(allowed):
            # mapped: the states of optimizers, twice as large as the weights, are never read
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except Exception as error:  # a damaged file can make the reader stumble over anything
        strange = sorted(
            name for name in named if name not in skipped and not PLAIN_OBJECTS.fullmatch(name)
        )
        if strange:
            raise ValueError(
                f"{path} was refused: besides weights it holds {', '.join(strange[:5])}, which may "
                f"run code when it is read; nothing was run; ask for the weights as .safetensors"
            ) from error
        with path.open("rb") as file:
            start = file.read(16)
        raise ValueError(
            f"{path} cannot be read as a PyTorch file: it was cut short, damaged or is of another "
            f"kind (it begins with {start!r}); copy it again"
        ) from error


def _numpy_objects() -> list[Any]:
    """What a pickled numpy array or number is made of, by its names in numpy 1 and numpy 2."""
    rebuild_array = np.empty(0).__reduce__()[0]
    rebuild_number = np.float64(0).__reduce__()[0]
    both_names = [
        (rebuild, f"numpy.{core}.multiarray.{name}")
        for rebuild, name in ((rebuild_array, "_reconstruct"), (rebuild_number, "scalar"))
        for core in ("core", "_core")
    ]
    types = [kind for kind in vars(np.dtypes).values() if isinstance(kind, type)]
    return [*both_names, np.ndarray, np.dtype, *types]


def _attribute_of_skipped(owner: Any, name: str) -> type[Skipped]:
    """What stands for ``getattr`` in files with skipped objects: logs name their own methods."""
    if owner is not Skipped:
        raise pickle.UnpicklingError(f"refused to look up {name} of {type(owner).__name__}")
    return Skipped


def _named_objects(path: Path, is_zip: bool) -> set[str]:
    """The functions and classes that a file of ``torch.save`` names: "module.name".

    The pickles are only listed, never run. Names put together while unpickling may escape; they
    escape the table of ``weights_only`` as well and are refused there.
    """
    if is_zip:
        with zipfile.ZipFile(path) as archive:
            pickles = [name for name in archive.namelist() if name.endswith("data.pkl")]
            return set().union(*(_names_in_pickles(archive.open(name), 1) for name in pickles))
    with path.open("rb") as file:
        # before 1.6: magic number, version, system, content; the storages follow
        return _names_in_pickles(file, 4)


def _names_in_pickles(file: IO[bytes], count: int) -> set[str]:
    """The names in ``count`` pickles that follow each other, as far as they are pickles."""
    names: set[str] = set()
    strings = ["", ""]
    try:
        for _ in range(count):
            for operation, argument, _ in pickletools.genops(file):
                if operation.name in ("GLOBAL", "INST"):
                    names.add(_modern(str(argument).replace(" ", ".")))
                elif operation.name == "STACK_GLOBAL":
                    names.add(_modern(".".join(strings)))
                elif isinstance(argument, str):
                    strings = [strings[1], argument]
    except Exception:  # no pickle, or a cut one: loading will say so
        return names
    return names


def _modern(name: str) -> str:
    """Pickles of protocol 2 use Python 2's names."""
    return name.replace("__builtin__.", "builtins.").replace("copy_reg.", "copyreg.")
