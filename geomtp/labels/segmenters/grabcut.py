"""The segmenter "grabcut": colours inside the box against colours around it, without weights."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geomtp.labels.annotations import Annotations
from geomtp.labels.masks.box_masks import box_mask, box_window, grown
from geomtp.labels.masks.components import label_components
from geomtp.labels.masks.object_masks import ObjectMask
from geomtp.labels.masks.run_lengths import rle_of_part
from geomtp.labels.segmenters.image_pixels import ImagePixels
from geomtp.labels.segmenters.segmenter import Segmenter
from geomtp.labels.shapes import rotated_boxes
from geomtp.types import SizeHW

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class GrabCutRules:
    """Where GrabCut may decide and when it is believed; shares are of the box's short side.

    - core_share: what lies deeper inside the box than this is the object for sure
    - around_share, around_px: the width of the surroundings, background for sure
    - rounds: of fitting colours and cutting
    - notch_share: only background as wide as this is taken out of the box: GrabCut frays borders
    - edge_contrast: it must end at an edge of the image, this many times steeper than the median
      in the box
    - reach_share, side_share: an annotated box is tight, so the mask must hold at least
      ``side_share`` of a strip of width ``reach_share`` along each side; otherwise the box is kept
    - largest_px: larger surroundings are shrunk to this for cutting, which takes long
    """

    core_share: float = 0.4
    around_share: float = 0.5
    around_px: float = 4.0
    rounds: int = 5
    notch_share: float = 0.15
    edge_contrast: float = 3.5
    reach_share: float = 0.1
    side_share: float = 0.05
    largest_px: int = 384


class GrabCutSegmenter(Segmenter):
    """GrabCut (Rother, Kolmogorov and Blake, 2004) of OpenCV, started from the rotated box.

    The mask is the filled box without the background that GrabCut finds in it, as far as that is
    believed (``GrabCutRules``); nothing outside the box is ever added. The score is 1, or 0 where
    GrabCut's answer did not reach all sides of the box and the filled box is given instead.

    Raises FileNotFoundError when OpenCV is not installed.
    """

    def __init__(self, rules: GrabCutRules | None = None) -> None:
        if importlib.util.find_spec("cv2") is None:
            raise FileNotFoundError(
                "the segmenter 'grabcut' needs OpenCV: pip install geomtp[grabcut]"
            )
        self._rules = rules or GrabCutRules()

    def segment(self, image: Path, annotations: Annotations) -> list[ObjectMask]:
        """See ``Segmenter``."""
        if not annotations.objects:
            return []
        size_hw = annotations.size_hw
        pixels = ImagePixels(image, size_hw)
        rboxes = rotated_boxes(annotations.objects, size_hw)
        return [self._segment(pixels, rbox, size_hw) for rbox in rboxes]

    def _segment(
        self, pixels: ImagePixels, rbox: NDArray[np.float64], size_hw: SizeHW
    ) -> ObjectMask:
        import cv2

        rules = self._rules
        around = max(rules.around_px, rules.around_share * float(rbox[2:4].min()))
        window = box_window(grown(rbox, around), size_hw)
        box = box_mask(rbox, window)
        # From here on everything lies in the window, shrunk where it is large.
        height, width = box.shape
        scale = min(1.0, rules.largest_px / max(height, width))
        size_wh = (max(round(width * scale), 1), max(round(height * scale), 1))
        colours = cv2.resize(pixels.read(window), size_wh, interpolation=cv2.INTER_AREA)
        factors = np.array([size_wh[0] / width, size_wh[1] / height, scale, scale, 1])
        small = (rbox - np.array([*window[:2], 0, 0, 0])) * factors
        notches = _notches(colours, small, rules)
        kept = _reaches_all_sides(notches, small, rules)
        if kept and notches.any():
            enlarged = cv2.resize(
                notches.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST
            )
            box &= enlarged == 0
        return ObjectMask(rle_of_part(box, window[:2], size_hw), score=float(kept))


def _notches(colours: NDArray[np.uint8], rbox: NDArray[np.float64], rules: GrabCutRules) -> Mask:
    """The background in the box that is wide enough and ends at edges of the image (H, W)."""
    import cv2

    box = _inside(rbox, colours)
    gone = box & ~_cut(colours, box, rbox, rules)
    width_px = max(3, round(rules.notch_share * float(rbox[2:4].min())) | 1)
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width_px, width_px))
    # Reflected at the window's border, where the image may end and an object goes on.
    wide = cv2.morphologyEx(
        gone.astype(np.uint8), cv2.MORPH_OPEN, brush, borderType=cv2.BORDER_REFLECT
    )
    # Opening rounds corners; what lies within a brush of the wide part comes back.
    notches: Mask = (cv2.dilate(wide, brush) > 0) & gone
    if not notches.any():
        return notches
    steepness = _steepness(colours)
    least = rules.edge_contrast * (float(np.median(steepness[box])) + 1e-3)
    labels, count = label_components(notches)
    for part in range(1, count + 1):
        notch = labels == part
        rim = (cv2.dilate(notch.astype(np.uint8), np.ones((3, 3))) > 0) & box & ~notches
        if not rim.any() or steepness[rim].mean() <= least:
            notches[notch] = False
    return notches


def _cut(
    colours: NDArray[np.uint8], box: Mask, rbox: NDArray[np.float64], rules: GrabCutRules
) -> Mask:
    """GrabCut's foreground (H, W); the box itself where there is nothing around it."""
    import cv2

    if not box.any() or box.all():
        return box
    labels = np.where(box, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    core = _inside(grown(rbox, -rules.core_share * float(rbox[2:4].min())), colours)
    labels[core] = cv2.GC_FGD
    models = np.zeros((2, 1, 65))  # the Gaussian mixtures that OpenCV fits
    cv2.setRNGSeed(0)  # the first clusters of colours are drawn
    bgr = np.ascontiguousarray(colours[:, :, ::-1])
    cv2.grabCut(bgr, labels, None, models[0], models[1], rules.rounds, cv2.GC_INIT_WITH_MASK)
    found: Mask = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    return found


def _steepness(colours: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How fast the fastest of the three colours changes, at most one pixel away (H, W)."""
    import cv2

    smooth = cv2.GaussianBlur(colours, (0, 0), 1.0).astype(np.float32)
    slopes = np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
    steepness: NDArray[np.float32] = cv2.dilate(slopes.max(axis=2), np.ones((3, 3)))
    return steepness


def _reaches_all_sides(notches: Mask, rbox: NDArray[np.float64], rules: GrabCutRules) -> bool:
    """Whether the box without the notches still holds something along each of its sides.

    Sides that lie outside the picture hold nothing and are not asked.
    """
    cx, cy, w, h, angle = rbox.tolist()
    depth = max(rules.reach_share * min(w, h), 1.5)
    box = _inside(rbox, notches)
    across = w / 2 - depth / 2, h / 2 - depth / 2
    cos, sin = np.cos(angle), np.sin(angle)
    for side in (-1, 1):
        strips = (
            (cx + side * across[0] * cos, cy + side * across[0] * sin, depth, h, angle),
            (cx - side * across[1] * sin, cy + side * across[1] * cos, w, depth, angle),
        )
        for strip in strips:
            near = _inside(np.array(strip), notches) & box
            if (near & ~notches).sum() < rules.side_share * near.sum():
                return False
    return True


def _inside(rbox: NDArray[np.float64], picture: NDArray[Any]) -> Mask:
    return box_mask(rbox, (0, 0, picture.shape[1], picture.shape[0]))
