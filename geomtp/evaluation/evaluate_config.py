"""What an evaluation needs, as a typed dataclass that flags fill. Nothing heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from geomtp.evaluation.protocol import Protocol
from geomtp.inference.predict_config import Flip
from geomtp.training.configs import Task

Submission = Literal["dota", "fair1m", "loveda"]


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Scores of a model on labelled images, maps of its predictions, files for evaluation servers.

    Args:
        checkpoint: the model, a file model.safetensors or best.safetensors.
        data: a label store, a folder laid out as for fine-tuning, or images without labels (for
            maps and submissions).
        out: folder for result.json, result.md, pictures of the worst cases and the submission.
        maps: folder for a picture of each image with truth and prediction, and the class maps.
        submit: write the file that this evaluation server takes.
        source: name of a known data set, whose layout DATA has; by default it is recognised.
        task: what the labels of a folder are for; by default the model's only task.
        classes_of: the source of the model whose classes are meant, where it has several.
        split: which images; "all" for every one of them.
        image_size: side that images are fitted into: a number, "own" for as they are in their
            files, or "trained" for as training validated. With windows: "own" by default.
        centre: look only at the middle of this side, after --image-size (scene alone).
        crop: side of the windows that slide over the image, in pixels; by default none.
        stride: from one window to the next; by default two thirds of the crop.
        scales: factors of the size at which each image is looked at.
        flips: mirrored views that are looked at besides.
        rotated_nms_iou: overlap from which rotated boxes of windows, views and tiles are one.
        box_nms_iou: the same of horizontal boxes.
        score_by: score rotated boxes image by image, or by scene: predictions of tiles named
            SCENE__size__x___y are merged first; by default by scene where there are such tiles.
        scene_labels: folder of the label files of the scenes (DOTA's txt, FAIR1M's xml), to score
            by; by default the objects of the tiles' own labels are put together.
        scenes: folder of the images that the tiles were cut from; FAIR1M wants a file for each.
        limit: most images that are looked at, evenly spread.
        worst: pictures of so many of the worst images.
        windows_at_once: windows that go through the model together.
        workers: processes that load images.
        device: what to compute on: auto, cpu, cuda.
        skip_bad: leave out images that cannot be read, instead of stopping.
    """

    checkpoint: Path
    data: Path
    out: Path = Path("runs/evaluation")
    maps: Path | None = None
    submit: Submission | None = None
    source: str | None = None
    task: Task | None = None
    classes_of: str | None = None
    split: Literal["train", "val", "test", "all"] = "val"
    image_size: int | Literal["trained", "own"] | None = None
    centre: int | None = None
    crop: int | None = None
    stride: int | None = None
    scales: tuple[float, ...] = (1.0,)
    flips: tuple[Flip, ...] = ()
    rotated_nms_iou: float = 0.1
    box_nms_iou: float = 0.5
    score_by: Literal["image", "scene"] | None = None
    scene_labels: Path | None = None
    scenes: Path | None = None
    limit: int | None = None
    worst: int = 8
    windows_at_once: int = 4
    workers: int = 2
    device: str = "auto"
    skip_bad: bool = False

    def __post_init__(self) -> None:
        if self.worst < 0 or (self.limit is not None and self.limit < 1):
            raise ValueError(f"worst and limit count images, found {self.worst} and {self.limit}")
        if self.stride is not None and self.crop is None:
            raise ValueError("a stride needs the side of the windows: give --crop too")
        if self.scene_labels is not None and (self.score_by == "image" or self.limit is not None):
            raise ValueError(
                "scene_labels are for scoring whole scenes: leave out --score-by image and --limit"
            )
        if self.scenes is not None and self.submit not in ("dota", "fair1m"):
            raise ValueError(
                "scenes are the images that a submission to dota or fair1m is about: give "
                "--submit; the label files to score by are --scene-labels"
            )
        self.protocol(None)

    def protocol(self, trained_px: int | None) -> Protocol:
        """How each image is looked at; ``trained_px``: the side that training validated at."""
        size = self.image_size
        if size is None:
            size = "own" if self.crop else "trained"
        stride = self.stride
        if stride is None and self.crop is not None:
            stride = max(1, 2 * self.crop // 3)
        return Protocol(
            size_px=size if isinstance(size, int) else trained_px if size == "trained" else None,
            centre_px=self.centre,
            crop_px=self.crop,
            stride_px=stride,
            scales=self.scales,
            flips=self.flips,
            rotated_nms_iou=self.rotated_nms_iou,
            box_nms_iou=self.box_nms_iou,
            windows_at_once=self.windows_at_once,
        )
