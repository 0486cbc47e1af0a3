"""Public data sets: what there is, and turning one into what its recipe reads."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from pathlib import Path

from geomtp.data.downloading import DOWNLOADS, download
from geomtp.data.folders import describe
from geomtp.data.sources import PUBLIC, PublicSource
from geomtp.data.sources.tiled import EmptyTiles, TiledSource
from geomtp.labels.read_notes import DAMAGED
from geomtp.labels.store.format import INFO_NAME, read_json


def prepare(
    name: str,
    root: Path,
    out: Path,
    *,
    size_px: int | None = None,
    gap_px: int | None = None,
    rates: tuple[float, ...] | None = None,
    empty_tiles: EmptyTiles | None = None,
    skip_bad: bool = False,
    strict: bool = False,
    progress: bool = False,
    fetch: bool = False,
) -> str:
    """Write the label store ``out`` of the public data set ``name`` below ``root``; what it holds.

    Images that have to be cut or drawn are written beside the store. Called again after an
    interruption it goes on where it stopped. ``size_px``, ``gap_px`` and ``rates`` cut other tiles
    than the reference (``Tiling``); ``empty_tiles``: those without objects (``TiledSource``).
    ``fetch``: download it into ``root`` first, by torchgeo.

    Raises ValueError or FileNotFoundError in one sentence for an unknown name, another layout,
    settings that do not fit, and images that cannot be read (unless ``skip_bad``: they are left
    out); as ``download`` where that is asked for.
    """
    source = dataclasses.replace(_source(name), progress=progress)
    tiles = {"size_px": size_px, "gap_px": gap_px, "rates": rates}
    changes = {field: value for field, value in tiles.items() if value is not None}
    if changes or empty_tiles:
        source = _tiled_otherwise(source, changes, empty_tiles)
    _check_folders(name, root, out)
    if fetch:
        root = download(name, root)
    store, report = source.build_with_report(root, out, strict=strict)
    if report.count(DAMAGED) and not skip_bad:
        (out / INFO_NAME).unlink()
        raise ValueError(
            f"images that could not be read: {report.count(DAMAGED)} "
            f"({_damaged(report.examples)}); mend them and run the command again, "
            f"or leave them out with --skip-bad"
        )
    left_out = f"\n{report}" if report.left_out else ""
    return f"{describe(store)}{left_out}\nstore: {out}"


def _damaged(examples: tuple[str, ...]) -> str:
    """The first sentence about a file that cannot be read."""
    return next((e for e in examples if "read" in e), examples[0])


def listing() -> str:
    """The public data sets, one a line."""
    width = max(map(len, PUBLIC))
    ways = {name: " [--download]" if name in DOWNLOADS else "" for name in PUBLIC}
    return "\n".join(f"{n:<{width}}  {_title(source)}{ways[n]}" for n, source in PUBLIC.items())


def card(name: str) -> str:
    """The card of a public data set. Raises ValueError listing the known ones."""
    return inspect.getdoc(type(_source(name))) or ""


def _title(source: PublicSource) -> str:
    return (type(source).__doc__ or "").splitlines()[0]


def _source(name: str) -> PublicSource:
    if name not in PUBLIC:
        raise ValueError(f"unknown data set {name!r}; known: {', '.join(PUBLIC)}")
    return PUBLIC[name]


def _tiled_otherwise(
    source: PublicSource, changes: Mapping[str, object], empty_tiles: EmptyTiles | None
) -> TiledSource:
    if not isinstance(source, TiledSource):
        tiled = ", ".join(name for name, other in PUBLIC.items() if isinstance(other, TiledSource))
        raise ValueError(
            f"{source.name} is not cut into tiles that can be chosen; those that are: {tiled}"
        )
    tiling = dataclasses.replace(source.tiling, **changes)  # type: ignore[arg-type]
    empty_tiles = empty_tiles or source.empty_tiles
    return dataclasses.replace(source, tiling=tiling, empty_tiles=empty_tiles)


def _check_folders(name: str, root: Path, out: Path) -> None:
    """Raise ValueError for a folder to write into that holds something else."""
    if out.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"--out {out} must lie outside of --from {root}, which is only read")
    if (out / INFO_NAME).is_file() and (found := read_json(out / INFO_NAME).get("source")) != name:
        raise ValueError(
            f"{out} holds the label store of {found!r}: give another folder for {name!r}"
        )
