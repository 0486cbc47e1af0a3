"""The part of the HTTP interface that is about images."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import Path, Query, Request, Response
from pydantic import BaseModel, Field

from geomtp.serving.jobs import JobStore
from geomtp.serving.raster_store import RasterStore, StoredRaster
from geomtp.serving.tiles import picture_tile

Id = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
TileNumber = Annotated[int, Path(ge=0, le=2**26)]

FOR_AN_HOUR = {"Cache-Control": "private, max-age=3600, immutable"}


class Picked(BaseModel):
    """An image of the server's folder, by its path as ``GET /api/folder`` lists it."""

    path: str = Field(max_length=1000)


class RasterRoutes:
    """Images: uploaded or picked, and their tiles."""

    def __init__(self, rasters: RasterStore, jobs: JobStore) -> None:
        self._rasters, self._jobs = rasters, jobs

    async def upload(
        self, request: Request, name: Annotated[str, Query(max_length=300)] = "image"
    ) -> StoredRaster:
        """Upload an image: its bytes are the body of the request; `name` is for people."""
        raster = await self._rasters.receive(name, request.stream())
        await asyncio.to_thread(self._forget_old, raster)
        return raster

    async def pick(self, picked: Picked) -> StoredRaster:
        """Take an image of the server's folder."""
        raster = await self._rasters.pick(picked.path)
        await asyncio.to_thread(self._forget_old, raster)
        return raster

    def _forget_old(self, new: StoredRaster) -> None:
        used = {raster for job in self._jobs.all() for raster in job.rasters}
        self._rasters.forget_all_but(used | {new.id})

    def folder(self) -> list[str]:
        """The images of the server's folder."""
        return self._rasters.listing()

    def all(self) -> list[StoredRaster]:
        """The images that the server has, the latest first."""
        return self._rasters.all()

    def one(self, raster_id: Id) -> StoredRaster:
        """An image."""
        return self._rasters.get(raster_id)

    def tile(self, raster_id: Id, z: TileNumber, x: TileNumber, y: TileNumber) -> Response:
        """A tile of an image: web mercator where its view is a map, else its own pixels."""
        raster = self._rasters.get(raster_id)
        png = picture_tile(self._rasters.shown(raster), raster.view, (z, x, y))
        return Response(png, media_type="image/png", headers=FOR_AN_HOUR)
