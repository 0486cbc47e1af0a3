"""How an image is looked at when a model is measured: whole or by windows, flipped, at scales."""

from __future__ import annotations

from dataclasses import dataclass

from geomtp.inference.predict_config import Flip


@dataclass(frozen=True)
class View:
    """One look at an image: mirrored or not, enlarged or reduced by ``scale``."""

    flip: Flip | None = None
    scale: float = 1.0


@dataclass(frozen=True)
class Protocol:
    """What is done with each image; the same for every image of a result.

    - size_px: the image's long side is made this long first; None: as it is in its file
    - centre_px: only the middle of this side is looked at (of what its class is asked alone)
    - crop_px, stride_px: windows of this side, starting every ``stride_px`` pixels, on the image at
      each scale; None: the whole image at once. Logits are averaged where windows overlap
    - scales: factors of the image's size at which it is looked at
    - flips: mirrored views that are looked at besides; probabilities of views are averaged
    - rotated_nms_iou, box_nms_iou: objects that several windows or views found are one where they
      overlap more than this, class by class
    - windows_at_once: how many go through the model together; does not change the result

    Raises ValueError for windows or scales that make no view.
    """

    size_px: int | None = None
    centre_px: int | None = None
    crop_px: int | None = None
    stride_px: int | None = None
    scales: tuple[float, ...] = (1.0,)
    flips: tuple[Flip, ...] = ()
    rotated_nms_iou: float = 0.1
    box_nms_iou: float = 0.5
    windows_at_once: int = 4

    def __post_init__(self) -> None:
        for name in ("size_px", "centre_px", "crop_px", "stride_px", "windows_at_once"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, found {value}")
        for name in ("rotated_nms_iou", "box_nms_iou"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in 0…1, found {getattr(self, name)}")
        if self.centre_px is not None and self.crop_px is not None:
            raise ValueError("an image is looked at by its middle or by windows, not by both")
        if (self.crop_px is None) != (self.stride_px is None):
            raise ValueError("windows need both their side (crop) and their stride in pixels")
        if self.crop_px and self.stride_px and self.stride_px > self.crop_px:
            raise ValueError(
                f"windows of {self.crop_px} px every {self.stride_px} px leave gaps: "
                f"choose a stride of at most the crop"
            )
        if not self.scales or min(self.scales) <= 0 or len(set(self.scales)) < len(self.scales):
            raise ValueError(f"scales must be different factors above 0, found {self.scales}")
        if len(set(self.flips)) < len(self.flips):
            raise ValueError(f"flips must differ, found {self.flips}")

    @property
    def views(self) -> list[View]:
        """All looks at an image, the plain ones of each scale first."""
        return [View(flip, scale) for flip in (None, *self.flips) for scale in self.scales]

    def __str__(self) -> str:
        size = "its own size" if self.size_px is None else f"long side {self.size_px} px"
        way = "whole" if self.centre_px is None else f"middle of {self.centre_px} px"
        if self.crop_px is not None:
            way = f"windows of {self.crop_px} px every {self.stride_px} px"
        scales = ", ".join(f"{scale:g}" for scale in self.scales)
        flips = ", ".join(self.flips) or "none"
        return f"{size}, {way}, scales {scales}, flips {flips}"
