"""The rasters that were uploaded or picked, each in a folder of its own."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from geomtp.checkpoints import replacing
from geomtp.rasters import raster_info
from geomtp.serving.image_folder import ImageFolder
from geomtp.serving.refusals import Refused
from geomtp.serving.serve_config import Serve
from geomtp.serving.views import View, view_of, write_view
from geomtp.types import SizeHW

_MOST_BANDS = 64
_IDLE_S = 30.0
"""How long an upload may say nothing."""

_UPLOAD_S = 3600.0
_MADE_READY_AT_A_TIME = 2
_LOOK_AT_DISK_EVERY = 16 * 2**20


@dataclass(frozen=True)
class StoredRaster:
    """An image that the server has.

    - id: what it is called in addresses; name: what its owner calls it
    - size_hw: height and width in pixels; bands, dtype: as in the file
    - view: how it lies in the page's world
    - picked: its path in the server's folder; None: it was uploaded
    - stamp: of a picked file, by which a changed one is known
    """

    id: str
    name: str
    size_hw: SizeHW
    bands: int
    dtype: str
    view: View
    created: str
    picked: str | None = None
    stamp: str | None = None


class RasterStore:
    """The rasters below ``root``; found again when a server is started anew."""

    def __init__(self, root: Path, config: Serve) -> None:
        self._root, self._config = root, config
        self._folder = None if config.images is None else ImageFolder(config.images)
        self._lock = threading.Lock()
        self._making_ready = asyncio.Semaphore(_MADE_READY_AT_A_TIME)
        root.mkdir(parents=True, exist_ok=True)
        found = [_read(folder) for folder in sorted(root.iterdir())]
        self._rasters = {raster.id: raster for raster in found if raster is not None}

    def all(self) -> list[StoredRaster]:
        """The rasters, the latest first."""
        with self._lock:
            return sorted(self._rasters.values(), key=lambda raster: raster.created, reverse=True)

    def get(self, raster_id: str) -> StoredRaster:
        """A raster by its id. Raises ``Refused`` where there is none."""
        with self._lock:
            raster = self._rasters.get(raster_id)
        if raster is None:
            raise Refused(404, "there is no such image: it may have been removed, upload it again")
        return raster

    def image(self, raster: StoredRaster) -> Path:
        """Its file; a picked one is looked up anew, for links may have changed. Raises Refused."""
        if raster.picked is None:
            return self._root / raster.id / "image"
        return self._picked(raster.picked)

    def shown(self, raster: StoredRaster) -> Path:
        """The file that its tiles are cut from."""
        return self._root / raster.id / "view.tif"

    def listing(self) -> list[str]:
        """The images that may be picked."""
        return [] if self._folder is None else self._folder.listing()

    async def receive(self, name: str, chunks: AsyncIterator[bytes]) -> StoredRaster:
        """Store an upload. Raises ``Refused`` for what is too large, too slow or no image."""
        raster_id = secrets.token_hex(16)
        folder = self._root / raster_id
        folder.mkdir()
        try:
            await self._write(folder / "image", chunks)
            return await self._made_ready(raster_id, _plain_name(name), folder / "image")
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    async def pick(self, name: str) -> StoredRaster:
        """The raster of an image of the server's folder. Raises ``Refused`` as ``receive``."""
        path = self._picked(name)
        facts = path.stat()
        stamp = f"{facts.st_size} {facts.st_mtime_ns}"
        for raster in self.all():
            if (raster.picked, raster.stamp) == (name, stamp):
                return raster
        await asyncio.to_thread(self._refuse_if_full)
        raster_id = secrets.token_hex(16)
        (self._root / raster_id).mkdir()
        try:
            return await self._made_ready(raster_id, _plain_name(name), path, name, stamp)
        except BaseException:
            shutil.rmtree(self._root / raster_id, ignore_errors=True)
            raise

    def forget_all_but(self, used: Collection[str]) -> None:
        """Remove the oldest rasters beyond those that are kept, unless they are ``used``."""
        for raster in self.all()[self._config.max_kept :]:
            if raster.id not in used:
                with self._lock:
                    self._rasters.pop(raster.id, None)
                shutil.rmtree(self._root / raster.id, ignore_errors=True)

    def _picked(self, name: str) -> Path:
        if self._folder is None:
            raise Refused(404, "this server was started without --images: upload the image")
        return self._folder.path_of(name)

    async def _write(self, path: Path, chunks: AsyncIterator[bytes]) -> None:
        most, until = self._config.max_upload_mb * 10**6, time.monotonic() + _UPLOAD_S
        got = looked_at = 0
        await asyncio.to_thread(self._refuse_if_full)
        with path.open("xb") as file:
            while True:
                try:
                    chunk = await asyncio.wait_for(anext(chunks, None), _IDLE_S)
                except TimeoutError:
                    chunk, until = b"", 0
                if time.monotonic() > until:
                    raise Refused(408, "the upload took too long and was given up")
                if chunk is None:
                    break
                got += len(chunk)
                if got > most:
                    raise Refused(
                        413, f"the file is larger than {self._config.max_upload_mb} MB, the most "
                        f"that this server takes (--max_upload_mb)",
                    )  # fmt: skip
                if got - looked_at > _LOOK_AT_DISK_EVERY:
                    looked_at = got
                    await asyncio.to_thread(self._refuse_if_full)
                file.write(chunk)
        if got == 0:
            raise Refused(400, "the upload is empty: send the bytes of the file as the body")

    async def _made_ready(
        self,
        raster_id: str,
        name: str,
        path: Path,
        picked: str | None = None,
        stamp: str | None = None,
    ) -> StoredRaster:
        async with self._making_ready:
            return await asyncio.to_thread(
                self._check_and_show, raster_id, name, path, picked, stamp
            )

    def _check_and_show(
        self, raster_id: str, name: str, path: Path, picked: str | None, stamp: str | None
    ) -> StoredRaster:
        try:
            info = raster_info(path)
            self._refuse_if_large(name, info.size_hw, info.bands)
            until = time.monotonic() + 60 * self._config.job_minutes
            write_view(path, self._root / raster_id / "view.tif", until)
        except (OSError, ValueError) as error:
            raise Refused(422, named(str(error), path, name)) from error
        raster = StoredRaster(
            raster_id, name, info.size_hw, info.bands, info.dtype, view_of(info),
            datetime.now(UTC).isoformat(), picked, stamp,
        )  # fmt: skip
        with replacing(self._root / raster_id / "raster.json") as beside:
            beside.write_text(json.dumps(dataclasses.asdict(raster)), encoding="utf-8")
        with self._lock:
            self._rasters[raster_id] = raster
        return raster

    def _refuse_if_large(self, name: str, size_hw: SizeHW, bands: int) -> None:
        height, width = size_hw
        if height * width > self._config.max_pixels:
            raise Refused(
                413, f"{name} has {width} × {height} pixels, more than the "
                f"{self._config.max_pixels:,} that this server takes (--max_pixels)",
            )  # fmt: skip
        if bands > _MOST_BANDS:
            raise Refused(413, f"{name} has {bands} bands, this server takes {_MOST_BANDS}")

    def _refuse_if_full(self) -> None:
        if bytes_below(self._root.parent) > self._config.max_stored_gb * 10**9:
            raise Refused(
                507, f"the server's {self._config.max_stored_gb:g} GB are full "
                f"(--max_stored_gb): remove jobs, or ask who runs it",
            )  # fmt: skip


def bytes_below(folder: Path) -> int:
    """How many bytes the files in ``folder`` and below take; others may remove some meanwhile."""
    used = 0
    for inner, _, files in os.walk(folder):
        for file in files:
            with contextlib.suppress(FileNotFoundError):
                used += Path(inner, file).stat().st_size
    return used


def named(sentence: str, path: Path, name: str) -> str:
    """A sentence about ``path`` as the user knows the file, in one line."""
    return " ".join(sentence.replace(str(path), name).split())


def _plain_name(name: str) -> str:
    """A name to show and to call downloads by: the last part, without control characters."""
    last = re.split(r"[/\\]", name)[-1]
    return "".join(c for c in last if c.isprintable())[:120].strip() or "image"


def _read(folder: Path) -> StoredRaster | None:
    """The raster in ``folder``; None, and the folder removed, where an upload was not finished."""
    try:
        values = json.loads((folder / "raster.json").read_text(encoding="utf-8"))
        view = View(**{**values["view"], "bounds": tuple(values["view"]["bounds"])})
        return StoredRaster(**{**values, "size_hw": tuple(values["size_hw"]), "view": view})
    except (OSError, ValueError, TypeError, KeyError):
        if folder.is_dir() and re.fullmatch("[0-9a-f]{32}", folder.name):
            shutil.rmtree(folder, ignore_errors=True)
        return None
