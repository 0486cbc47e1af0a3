"""Models from folders and repositories, and into repositories."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import yaml

from geomtp.checkpoints import read_description, read_weights, save_weights, sha256_of
from geomtp.hub.model_card import UNKNOWN, model_card
from geomtp.hub.repositories import (
    CARD,
    LIBRARY,
    MODEL_NAME,
    NAMES,
    fetch_file,
    is_repo_id,
    no_weights,
    publish_files,
    published_name,
)
from geomtp.model import MultiTaskModel, load, save


def from_pretrained(
    name_or_path: str | Path,
    revision: str | None = None,
    *,
    cache_dir: str | Path | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
) -> MultiTaskModel:
    """The model in a file, in a folder of a run, or in a repository USER/NAME of the hub.

    In evaluation mode. Arguments and errors are those of ``fetch_weights``; ValueError, too, for
    weights that are no whole model. Nothing is ever unpickled.
    """
    path = fetch_weights(
        name_or_path,
        revision,
        cache_dir=cache_dir,
        token=token,
        local_files_only=local_files_only,
    )
    _, info = read_description(path)
    if info.get("kind") == "encoder":
        raise ValueError(
            f"{name_or_path} holds an encoder alone: load it by geomtp.create_encoder("
            f"{info.get('encoder')!r}, image_size={info.get('image_size')}, weights={str(path)!r})"
        )
    return load(path)


def fetch_weights(
    name_or_path: str | Path,
    revision: str | None = None,
    *,
    cache_dir: str | Path | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
) -> Path:
    """Where the weights of a name lie: a file of ours, ``model.safetensors`` or the encoder's.

    - name_or_path: a file, a folder, or a repository USER/NAME; only that asks the network
    - revision: branch, tag or commit of a repository
    - cache_dir, token, local_files_only: as in huggingface_hub

    Raises FileNotFoundError, OSError or ValueError in one sentence: nothing of this name, a folder
    or repository without weights of ours, weights of another library.
    """
    name = str(name_or_path)
    if is_repo_id(name):
        path = fetch_file(
            name,
            NAMES,
            revision=revision,
            cache_dir=cache_dir,
            token=token,
            local_files_only=local_files_only,
        )
    elif revision is not None:
        raise ValueError(f"a revision is of a repository, but {name} is a place on this machine")
    else:
        path = _local(Path(name_or_path))
    _check_ours(name, path)
    return path


def fetch_into(name_or_path: str | Path, folder: str | Path, revision: str | None = None) -> Path:
    """Copy weights and their description into ``folder``; where they lie.

    Files that are there are replaced when the new ones are whole. Raises as ``fetch_weights``.
    """
    path = fetch_weights(name_or_path, revision)
    weights, info = read_weights(path)
    place = Path(folder) / path.name
    save_weights(weights, place, info)
    return place


def _local(place: Path) -> Path:
    if place.is_file():
        return place
    if not place.is_dir():
        raise FileNotFoundError(
            f"there is no {place} here, and it is no repository USER/NAME of the hub"
        )
    for name in NAMES:
        if (place / name).is_file():
            return place / name
    found = [path.name for path in place.iterdir() if not path.name.startswith(".")]
    raise FileNotFoundError(no_weights(str(place), NAMES, found))


def _check_ours(name: str, path: Path) -> None:
    """Raise ValueError for weights that nothing describes, with what a card beside them says."""
    try:
        read_description(path)
    except ValueError as error:
        if "nothing describes" not in str(error):
            raise
        library = _library_of(path.with_name(CARD))
        of = "another library" if library in (None, LIBRARY) else f"the library {library!r}"
        raise ValueError(
            f"{name} holds weights of {of}, not of geomtp: import them by `geomtp weights import`"
        ) from error


def _library_of(card: Path) -> str | None:
    """What the header of a model card says, if there is one."""
    if not card.is_file():
        return None
    return _said(card.read_text(encoding="utf-8", errors="replace"), "library_name")


def _said(card: str, name: str) -> str | None:
    """What the header of a model card says under ``name``; None where it says nothing."""
    parts = card.split("---", 2)
    try:
        header = yaml.safe_load(parts[1]) if len(parts) == 3 else None
    except yaml.YAMLError:
        return None
    value = header.get(name) if isinstance(header, dict) else None
    return None if value is None else str(value)


def push_to_hub(
    model: MultiTaskModel | str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    licence: str = UNKNOWN,
) -> str:
    """Write weights, their description and a model card into a repository; its address.

    - model: a file of ours (of a run, so that the card knows its training), a folder with one, or
      a model in memory. A ``README.md`` beside the file that names its SHA-256 (as ``write_card``
      writes, edited or not) is the card; otherwise one is made
    - repo_id: USER/NAME; made if it is missing, ``private`` or not
    - licence: of the weights, as the hub names it, for the card

    Raises ValueError, FileNotFoundError or OSError in one sentence; ValueError too for a card that
    names another licence.
    """
    if isinstance(model, MultiTaskModel):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / MODEL_NAME
            save(model, path)
            return push_to_hub(
                path, repo_id, private=private, revision=revision, token=token, licence=licence
            )
    path = _local(Path(model))
    _, info = read_description(path)
    card = _card_of(path) or model_card(path, licence=licence)
    if licence != UNKNOWN and (said := _said(card, "license")) != licence:
        raise ValueError(
            f"{path.with_name(CARD)} names the licence {said!r}, not {licence!r}: mend its line "
            f"'license:', or write it anew by `geomtp weights card {path} --licence {licence}`"
        )
    there = published_name(str(info.get("kind")))
    description = json.dumps(info, indent=2, ensure_ascii=False) + "\n"
    return publish_files(
        repo_id,
        {
            there: path,
            str(Path(there).with_suffix(".json")): description.encode(),
            CARD: card.encode(),
        },
        message=f"{there} by geomtp",
        private=private,
        revision=revision,
        token=token,
    )


def _card_of(path: Path) -> str | None:
    """The card beside the file, if it is of these weights."""
    card = path.with_name(CARD)
    if not card.is_file():
        return None
    text = card.read_text(encoding="utf-8")
    return text if sha256_of(path) in text else None
