"""What a server needs, as a typed dataclass that flags fill. Nothing heavy here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Serve:
    """A page in the browser where images become maps, and an HTTP interface beside it.

    Args:
        checkpoints: the models, files model.safetensors, best.safetensors or graph.onnx.
        images: a folder whose images may be picked on the page; nothing outside it can be read.
        work: folder for uploads, jobs and results; a server started on it again goes on with them.
        host: address to listen at; 127.0.0.1 is reached from this machine alone.
        port: to listen at; 0 for any free one.
        allowed_hosts: names by which browsers may reach the server, besides localhost and plain
            addresses.
        max_upload_mb: most megabytes of an upload.
        max_pixels: most pixels (width times height) of an image.
        max_jobs: most jobs that wait or run at a time.
        job_minutes: after which a running job is stopped.
        max_stored_gb: most gigabytes of uploads and results together.
        max_kept: most finished jobs that are kept; the oldest go first.
        device: what to compute on: auto, cpu, cuda.
        precision: numbers that the models compute with; bf16 is faster on recent devices.
        windows_at_once: windows that go through the model together.
    """

    checkpoints: tuple[Path, ...]
    images: Path | None = None
    work: Path = Path("runs/serve")
    host: str = "127.0.0.1"
    port: int = 8000
    allowed_hosts: tuple[str, ...] = ()
    max_upload_mb: int = 512
    max_pixels: int = 400_000_000
    max_jobs: int = 20
    job_minutes: float = 60.0
    max_stored_gb: float = 20.0
    max_kept: int = 100
    device: str = "auto"
    precision: Literal["fp32", "bf16"] = "fp32"
    windows_at_once: int = 4

    def __post_init__(self) -> None:
        if not self.checkpoints:
            raise ValueError("no model was given: name one or several checkpoints")
        if self.images is not None and not self.images.is_dir():
            raise ValueError(f"--images names a folder of images, {self.images} is none")
        bounds = ("max_upload_mb", "max_pixels", "max_jobs", "job_minutes", "max_stored_gb",
                  "max_kept", "windows_at_once")  # fmt: skip
        for name in bounds:
            if not getattr(self, name) > 0:
                raise ValueError(f"--{name} must be above 0, found {getattr(self, name)}")
        graphs = [path for path in self.checkpoints if Path(path).suffix == ".onnx"]
        if graphs and self.precision != "fp32":
            raise ValueError(
                f"{graphs[0]} is a graph, which computes as it was exported: leave out --precision"
            )
        if not 0 <= self.port <= 65535:
            raise ValueError(f"a port is a number from 0 to 65535, found {self.port}")
