"""What a prediction of scenes needs, as a typed dataclass that flags fill. Nothing heavy here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Flip = Literal["horizontal", "vertical", "diagonal"]

SUMMARY_SUFFIX = "_summary.json"
"""What follows a scene's name in the name of its summary."""


@dataclass(frozen=True, kw_only=True)
class Predict:
    """Maps and objects of images of any size.

    Args:
        checkpoint: the model, a file model.safetensors or best.safetensors.
        images: files, folders, patterns, STAC items, addresses; for change two of them, the
            earlier date first.
        out: folder for the results, named after the images.
        classes_of: the source of the model whose classes are meant, where it has several.
        bands: bands in the model's order, by number from 1 or by name; by default all.
        gsd: metres per pixel that the model looks at; by default those of the image. Results are
            always on the grid of the image.
        window: side of the windows in pixels; by default as in training.
        overlap: share of a window that the next one sees again, 0 to 0.5.
        stretch: bring the values of each band from their 2nd…98th percentile to 0…255 first; for
            models trained on 8 bits and images that have more.
        scales: factors of the size at which the image is looked at.
        flips: mirrored views that are looked at besides.
        score: least score of an object that is written.
        rotated_nms_iou: overlap from which rotated boxes of windows and views are one.
        box_nms_iou: the same of horizontal boxes, and of the masks of instances.
        vectors: format of the files of objects.
        polygons: write maps as polygons, too.
        simplify: leave out bends of such polygons smaller than so many metres (pixels without a
            place).
        preview: long side of the picture to look at, in pixels; 0 for none.
        windows_at_once: windows that go through the model together.
        device: what to compute on: auto, cpu, cuda.
        precision: numbers that the model computes with; bf16 is faster on recent devices.
        compile: compile the model first (torch.compile); pays for large scenes.
    """

    checkpoint: Path
    images: tuple[str, ...]
    out: Path = Path("runs/maps")
    classes_of: str | None = None
    bands: tuple[int | str, ...] | None = None
    gsd: float | None = None
    window: int | None = None
    overlap: float = 0.25
    stretch: bool = False
    scales: tuple[float, ...] = (1.0,)
    flips: tuple[Flip, ...] = ()
    score: float = 0.3
    rotated_nms_iou: float = 0.1
    box_nms_iou: float = 0.5
    vectors: Literal["gpkg", "parquet", "geojson"] = "gpkg"
    polygons: bool = False
    simplify: float | None = None
    preview: int = 1024
    windows_at_once: int = 4
    device: str = "auto"
    precision: Literal["fp32", "bf16"] = "fp32"
    compile: bool = False

    def __post_init__(self) -> None:
        if not self.images:
            raise ValueError("no image was given: name files, folders or patterns")
        if self.gsd is not None and self.gsd <= 0:
            raise ValueError(f"--gsd counts metres per pixel, found {self.gsd}")
        if self.window is not None and self.window < 32:
            raise ValueError(f"a window has at least 32 pixels, found {self.window}")
        if not 0 <= self.overlap <= 0.5:
            raise ValueError(f"overlap is a share of a window from 0 to 0.5, found {self.overlap}")
        if not self.scales or min(self.scales) <= 0 or len(set(self.scales)) < len(self.scales):
            raise ValueError(f"scales must be different factors above 0, found {self.scales}")
        if len(set(self.flips)) < len(self.flips):
            raise ValueError(f"flips must differ, found {self.flips}")
        if self.windows_at_once < 1 or self.preview < 0:
            raise ValueError("windows_at_once is at least 1, preview at least 0")
        for name in ("score", "rotated_nms_iou", "box_nms_iou"):
            if not 0 <= getattr(self, name) <= 1:
                flag = f"--{name.replace('_', '-')}"
                raise ValueError(f"{flag} is a number from 0 to 1, found {getattr(self, name)}")
        if self.simplify is not None and not (self.polygons and self.simplify >= 0):
            raise ValueError(
                f"--simplify {self.simplify:g} is for the polygons of maps, in metres from 0 on: "
                f"ask for them by --polygons"
            )
        if Path(self.checkpoint).suffix == ".onnx" and (self.compile or self.precision != "fp32"):
            raise ValueError(
                f"{self.checkpoint} is a graph, which computes as it was exported: leave out "
                f"--precision and --compile, or give the checkpoint that it was made of"
            )
