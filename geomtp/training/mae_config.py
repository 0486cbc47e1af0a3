"""What masked autoencoding needs, as a typed dataclass. Recipes and flags fill it.

Nothing heavy is imported here: the command line reads this class to answer ``--help``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from geomtp.training.configs import RunSettings, check_std

IMAGES_PER_UNIT = 256
"""Images per step at which the base learning rate holds."""


@dataclass(frozen=True, kw_only=True)
class PretrainMAE(RunSettings):
    """Masked autoencoding: an encoder learns from images without labels.

    Args:
        data: the images: folders (all images below them), label stores, or text files that list
            images.
        validation_data: images like these that are not trained on: their loss is measured, and some
            of them are drawn.
        encoder: name of the ViT + RVSA that is to start from the result.
        weights: what to start from: a file of a masked autoencoder, official or ours; by default
            random weights.
        image_size: side of the training views in pixels, a multiple of 16.
        in_channels: channels of the images; files may have more, the first ones are read.
        mean: per channel, subtracted from the images; by default measured on 100 of them.
        std: per channel, what the images are divided by; by default measured.
        mask_ratio: share of the patches that are hidden from the encoder.
        norm_pixels: compare patches after each patch's own mean and deviation are taken out.
        decoder_width: width of the decoder that paints the hidden patches.
        decoder_depth: its blocks.
        decoder_heads: its attention heads.
        crop_area: share of an image's area that a view shows, drawn from this range.
        crop_side_px: draw the side of the views from this range of image pixels instead, for
            scenes much larger than a view.
        batch_size: images per step and process.
        epochs: how often each image is seen.
        warmup_epochs: of these, with a rising learning rate.
        steps: optimiser steps, instead of the epochs; the share of the warm-up stays.
        base_learning_rate: for 256 images per step; the learning rate grows with the images of all
            processes in a step.
        pictures: images whose reconstruction is drawn.
        draw_every: steps between two drawings; 0 draws at the end only.
    """

    data: tuple[Path, ...] = ()
    validation_data: tuple[Path, ...] = ()
    out: Path = Path("runs/mae")
    encoder: str = "vit_b_rvsa"
    weights: str | None = None
    image_size: int = 224
    in_channels: int = 3
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    mask_ratio: float = 0.75
    norm_pixels: bool = True
    decoder_width: int = 512
    decoder_depth: int = 8
    decoder_heads: int = 16
    crop_area: tuple[float, float] = (0.2, 1.0)
    crop_side_px: tuple[int, int] | None = None
    batch_size: int = 64
    epochs: float = 1600
    warmup_epochs: float = 40
    steps: int | None = None
    base_learning_rate: float = 1.5e-4
    clip_norm: float | None = None
    pictures: int = 4
    draw_every: int = 5_000

    def __post_init__(self) -> None:
        if not self.data:
            raise ValueError("--data is needed: folders, label stores or lists of images")
        super().__post_init__()
        self._check_least(1, "batch_size", "in_channels", "steps", "decoder_width", "decoder_heads")
        self._check_least(0, "decoder_depth", "base_learning_rate", "pictures", "draw_every")
        if self.image_size < 32 or self.image_size % 16:
            raise ValueError(
                f"image_size must be a multiple of 16 px from 32 on, found {self.image_size}"
            )
        if not 0 < self.mask_ratio < 1:
            raise ValueError(
                f"mask_ratio is the share of hidden patches: it must lie between 0 and 1 (0.75 is "
                f"usual), found {self.mask_ratio}"
            )
        low, high = self.crop_area
        if not 0 < low <= high <= 1:
            raise ValueError(f"crop_area must rise within 0…1, found {low}…{high}")
        if self.crop_side_px is not None and not 1 <= self.crop_side_px[0] <= self.crop_side_px[1]:
            low, high = self.crop_side_px
            raise ValueError(f"crop_side_px must rise from at least 1, found {low}…{high}")
        if not 0 <= self.warmup_epochs < self.epochs:
            raise ValueError(
                f"warmup_epochs must be less than epochs and not negative, "
                f"found {self.warmup_epochs} of {self.epochs}"
            )
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std go together: give both or neither")
        for name in ("mean", "std"):
            values = getattr(self, name)
            if values is not None and len(values) != self.in_channels:
                raise ValueError(
                    f"{name} needs a value per channel: {self.in_channels}, found {len(values)}"
                )
        check_std(self.std)

    @property
    def images_per_step(self) -> int:
        """Images of all processes in one step."""
        return self.batch_size * self.devices * self.nodes

    @property
    def learning_rate(self) -> float:
        """At its peak: the base learning rate, scaled to the images of one step."""
        return self.base_learning_rate * self.images_per_step / IMAGES_PER_UNIT

    def steps_of(self, images: int) -> int:
        """Steps of a run over so many images; an epoch's last, smaller step is not counted."""
        if self.steps is not None:
            return self.steps
        return max(1, int(self.epochs * max(1, images // self.images_per_step)))

    def warmup_steps_of(self, steps: int) -> int:
        """How many of ``steps`` warm up."""
        return round(steps * self.warmup_epochs / self.epochs)
