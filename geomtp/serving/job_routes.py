"""The part of the HTTP interface that is about jobs and their results."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Annotated, Any

from fastapi import Query, Response
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from geomtp.inference.windows.value_ranges import doubt
from geomtp.rasters import open_scene, raster_info
from geomtp.serving.job_runner import JobRunner
from geomtp.serving.jobs import Job, JobSettings, JobStore
from geomtp.serving.raster_routes import FOR_AN_HOUR, Id, TileNumber
from geomtp.serving.raster_store import RasterStore, StoredRaster, named
from geomtp.serving.refusals import Refused
from geomtp.serving.results import ResultFile, ResultLayer, Results
from geomtp.serving.serve_config import Serve
from geomtp.serving.served_models import ServedModel
from geomtp.serving.tiles import class_tile


class Wanted(BaseModel):
    """A job: a model, the ids of its images (for change two, the earlier date first), settings."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(max_length=300)
    rasters: list[str] = Field(min_length=1, max_length=2)
    score: float = Field(0.3, ge=0, le=1)
    bands: list[Annotated[str, Field(max_length=100)]] | None = Field(None, max_length=64)
    gsd: float | None = Field(None, gt=0, le=10_000)
    stretch: bool = False


@dataclass(frozen=True)
class JobResults:
    """Layers, files and figures of a job that is done."""

    layers: list[ResultLayer]
    files: list[ResultFile]
    summary: dict[str, Any]


class JobRoutes:
    """Jobs: asked for, watched, cancelled, and what they give."""

    def __init__(
        self,
        models: Mapping[str, ServedModel],
        rasters: RasterStore,
        jobs: JobStore,
        runner: JobRunner,
    ) -> None:
        self._models, self._rasters, self._jobs, self._runner = models, rasters, jobs, runner

    def create(self, wanted: Wanted) -> Job:
        """Ask for a prediction; it is done when the jobs before it are."""
        model = self._models.get(wanted.model)
        if model is None:
            raise Refused(404, f"no model {wanted.model!r}; known: {', '.join(self._models)}")
        rasters = [self._rasters.get(raster_id) for raster_id in wanted.rasters]
        if len(rasters) != model.dates:
            raise Refused(
                422,
                "change is seen between two images: choose one of each date"
                if model.dates == 2
                else f"{model.name} looks at one image at a time",
            )
        settings = JobSettings(
            score=wanted.score,
            bands=None if wanted.bands is None else tuple(wanted.bands),
            gsd=wanted.gsd,
            stretch=wanted.stretch,
        )
        notes = [self._checked(model, raster, settings) for raster in rasters]
        note = next((note for note in notes if note is not None), None)
        return self._jobs.add(model.name, tuple(wanted.rasters), settings, note)

    def _checked(
        self, model: ServedModel, raster: StoredRaster, settings: JobSettings
    ) -> str | None:
        """A sentence where the image is none that the model knows. Raises ``Refused``."""
        path = self._rasters.image(raster)
        try:
            with open_scene(
                path, channels=model.channels, bands=settings.bands, plain_only=True
            ) as scene:
                found = None if settings.stretch else doubt(scene, model.mean, model.std)
        except (OSError, ValueError) as error:
            raise Refused(422, named(str(error), path, raster.name)) from error
        return None if found is None else named(found, path, raster.name)

    def all(self) -> list[Job]:
        """The jobs that the server has, the oldest first."""
        return self._jobs.all()

    def one(self, job_id: Id) -> Job:
        """A job: its state, and how far it is."""
        return self._jobs.get(job_id)

    def cancel(self, job_id: Id) -> Job:
        """Stop a job; one that has ended stays as it is."""
        return self._runner.cancel(job_id)

    def remove(self, job_id: Id) -> Response:
        """Forget a job that has ended, and its files."""
        self._jobs.remove(job_id)
        return Response(status_code=204)

    def results(self, job_id: Id) -> JobResults:
        """What a job that is done gives."""
        results = self._results(job_id)
        return JobResults(results.layers(), results.files(), results.summary())

    def file(self, job_id: Id, name: str) -> FileResponse:
        """Download a file of a job."""
        return FileResponse(self._results(job_id).file(name), filename=name)

    def objects(self, job_id: Id, task: str) -> JSONResponse:
        """The surest objects of a task as GeoJSON; in pixels where the image has no place."""
        raster = self._rasters.get(self._jobs.get(job_id).rasters[0])
        place = raster_info(self._rasters.image(raster)).georeference
        found = self._results(job_id).objects(task, raster.view, place)
        return JSONResponse(found, media_type="application/geo+json")

    def tile(
        self,
        job_id: Id,
        task: str,
        z: TileNumber,
        x: TileNumber,
        y: TileNumber,
        values: Annotated[str | None, Query(pattern=r"^(\d{1,3}(,\d{1,3})*)?$")] = None,
    ) -> Response:
        """A tile of a map of classes; `values=1,3` draws those alone."""
        results, raster = self._results(job_id), self._first(job_id)
        shown = None if values is None else {int(v) for v in values.split(",") if v}
        palette = results.layer(task, "map").palette
        png = class_tile(results.map_file(task), raster.view, (z, x, y), palette, shown)
        return Response(png, media_type="image/png", headers=FOR_AN_HOUR)

    def _first(self, job_id: str) -> StoredRaster:
        return self._rasters.get(self._jobs.get(job_id).rasters[0])

    def _results(self, job_id: str) -> Results:
        job = self._jobs.get(job_id)
        if job.state != "done":
            raise Refused(409, f"the job has no results: it is {job.state}")
        model = self._models.get(job.model)
        if model is None:
            raise Refused(404, f"the model {job.model!r} of this job is not served any more")
        title = "--".join(PurePath(self._rasters.get(r).name).stem for r in job.rasters)
        return Results(self._jobs.out(job_id), title, model)


def told_of_job(
    job: Job, models: Mapping[str, ServedModel], rasters: RasterStore, out: str, config: Serve
) -> dict[str, Any]:
    """What the working process needs to know of a job. Raises ``Refused`` for what is gone."""
    model = models.get(job.model)
    if model is None:
        raise Refused(404, f"the model {job.model!r} is not served any more")
    images = [rasters.get(raster_id) for raster_id in job.rasters]
    paths = [str(rasters.image(raster)) for raster in images]
    settings = dataclasses.asdict(job.settings) | {
        "checkpoint": str(model.checkpoint),
        "classes_of": model.source,
        "images": paths,
        "device": config.device,
        "precision": config.precision,
        "windows_at_once": config.windows_at_once,
    }
    names = {path: raster.name for path, raster in zip(paths, images, strict=True)}
    names |= {str(model.checkpoint): model.name, out: "the job's folder"}
    return {"out": out, "settings": settings, "names": names}
