"""The server as an application: its routes in one table."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from geomtp import __version__
from geomtp.serving.guard import Guard
from geomtp.serving.image_folder import MOST_LISTED
from geomtp.serving.job_routes import JobRoutes, told_of_job
from geomtp.serving.job_runner import JobRunner, Worker
from geomtp.serving.jobs import Job, JobStore
from geomtp.serving.raster_routes import RasterRoutes
from geomtp.serving.raster_store import RasterStore
from geomtp.serving.refusals import Refused
from geomtp.serving.serve_config import Serve
from geomtp.serving.served_models import ServedModel, served_models
from geomtp.types import Rgb

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


class Offered(BaseModel):
    """A model as jobs ask for it: `dates` is 2 for change, `channels` the bands that it needs."""

    name: str
    tasks: tuple[str, ...]
    classes: tuple[str, ...]
    palette: tuple[Rgb, ...]
    channels: int
    dates: int


class Server(BaseModel):
    """What this server offers, and its bounds."""

    version: str
    models: list[Offered]
    has_folder: bool
    most_listed: int
    max_upload_mb: int
    max_pixels: int
    max_jobs: int
    job_minutes: float


class Problem(BaseModel):
    """Why a request was refused, in one sentence."""

    detail: str


def create_app(
    config: Serve,
    models: Mapping[str, ServedModel] | None = None,
    new_worker: Callable[[], Worker] = Worker,
) -> Guard:
    """The application; its jobs begin when it is started.

    - models: those of the config, where they were looked at already
    - new_worker: starts what does the jobs

    Raises FileNotFoundError or ValueError for models that cannot be opened.
    """
    offered = served_models(config.checkpoints) if models is None else models
    work = config.work.resolve()
    rasters = RasterStore(work / "rasters", config)
    jobs = JobStore(work / "jobs", config.max_jobs, config.max_kept)

    def told_of(job: Job) -> dict[str, Any]:
        return told_of_job(job, offered, rasters, str(jobs.out(job.id)), config)

    runner = JobRunner(jobs, told_of, config.job_minutes, new_worker)

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        runner.start()
        yield
        runner.stop()

    app = FastAPI(
        title="geomtp",
        version=__version__,
        description="Maps and objects of overhead images: upload an image, ask for a job, download "
        'what it gives. Errors are `{"detail": sentence}`.',
        docs_url=None,  # its page would need scripts from elsewhere
        redoc_url=None,
        lifespan=running,
        responses={"4XX": {"model": Problem}, "5XX": {"model": Problem}},
        exception_handlers={
            Refused: _refused,
            RequestValidationError: _malformed,
        },
    )
    _add_routes(app, _server(config, offered), RasterRoutes(rasters, jobs),
                JobRoutes(offered, rasters, jobs, runner))  # fmt: skip
    return Guard(app, config.allowed_hosts)


def _add_routes(app: FastAPI, server: Server, rasters: RasterRoutes, jobs: JobRoutes) -> None:
    bytes_of_file = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    body = {"requestBody": {"content": bytes_of_file, "required": True}}
    get = partial(app.add_api_route, methods=["GET"])
    post = partial(app.add_api_route, methods=["POST"])

    def about() -> Server:
        """What this server offers, and its bounds."""
        return server

    get("/api/server", about)
    get("/api/folder", rasters.folder)
    get("/api/rasters", rasters.all)
    post("/api/rasters", rasters.upload, status_code=201, openapi_extra=body)
    post("/api/rasters/pick", rasters.pick, status_code=201)
    get("/api/rasters/{raster_id}", rasters.one)
    get("/tiles/{raster_id}/{z}/{x}/{y}.png", rasters.tile, response_class=Response)
    get("/api/jobs", jobs.all)
    post("/api/jobs", jobs.create, status_code=202)
    get("/api/jobs/{job_id}", jobs.one)
    post("/api/jobs/{job_id}/cancel", jobs.cancel)
    app.add_api_route("/api/jobs/{job_id}", jobs.remove, methods=["DELETE"], status_code=204)
    get("/api/jobs/{job_id}/results", jobs.results)
    get("/api/jobs/{job_id}/files/{name}", jobs.file, response_class=Response)
    get("/api/jobs/{job_id}/objects/{task}", jobs.objects, response_class=JSONResponse)
    get("/tiles/jobs/{job_id}/{task}/{z}/{x}/{y}.png", jobs.tile, response_class=Response)
    for path, name in _page_files().items():
        get(path, _sender(name), include_in_schema=False)


def _server(config: Serve, models: Mapping[str, ServedModel]) -> Server:
    return Server(
        version=__version__,
        models=[
            Offered(
                name=m.name, tasks=m.tasks, classes=m.classes, palette=m.palette,
                channels=m.channels, dates=m.dates,
            )
            for m in models.values()
        ],
        has_folder=config.images is not None,
        most_listed=MOST_LISTED,
        max_upload_mb=config.max_upload_mb,
        max_pixels=config.max_pixels,
        max_jobs=config.max_jobs,
        job_minutes=config.job_minutes,
    )  # fmt: skip


def _page_files() -> dict[str, str]:
    """The files of the page by address; there are no others, so no path can lead elsewhere."""
    names = [file.name for file in (files("geomtp.serving") / "page").iterdir()]
    known = sorted(name for name in names if name.rpartition(".")[2] in _TYPES)
    return {"/": "index.html"} | {f"/page/{name}": name for name in known}


def _sender(name: str) -> Callable[[], Response]:
    def send() -> Response:
        content = (files("geomtp.serving") / "page" / name).read_bytes()
        kind = _TYPES[name.rpartition(".")[2]]
        return Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})

    return send


async def _refused(_: Request, refusal: Exception) -> JSONResponse:
    assert isinstance(refusal, Refused)
    return JSONResponse({"detail": refusal.sentence}, refusal.status)


async def _malformed(_: Request, error: Exception) -> JSONResponse:
    """What is wrong with a request, in one sentence."""
    assert isinstance(error, RequestValidationError)
    parts = [f"{'.'.join(str(p) for p in e['loc'][1:])}: {e['msg']}" for e in error.errors()[:3]]
    return JSONResponse({"detail": f"the request is not as expected: {'; '.join(parts)}"}, 422)
