"""What a masked autoencoder paints, during training: pictures, and the loss of held-out images."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image
from torch import Tensor

from geomtp.data.unlabelled import UnlabelledDataset
from geomtp.mae import (
    MaeConfig,
    MaskedAutoencoder,
    Masking,
    mask_by_noise,
    patchify,
    save_mae,
    save_mae_encoder,
    unpatchify,
)
from geomtp.training.pictures import contact_sheet, displayable, save_picture
from geomtp.training.run_folder import RunFolder

_IMAGES_AT_ONCE = 16
_MOST_HELD_OUT = 256
_MASK_SEED = 0


class Reconstructions(Callback):
    """Draws what the model paints and writes the model, every so many steps and at the end.

    - shown: the images to draw, held out from training where there are such
    - held_out: whose loss is measured too, or None
    """

    def __init__(
        self,
        shown: UnlabelledDataset,
        held_out: UnlabelledDataset | None,
        folder: RunFolder,
        config: MaeConfig,
        *,
        mask_ratio: float,
        every: int,
        pictures: int,
    ) -> None:
        self.shown, self.held_out, self.folder, self.config = shown, held_out, folder, config
        self.mask_ratio, self.every, self.pictures = mask_ratio, every, pictures
        self._done_at = -1

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Draw after every ``every`` steps."""
        if self.every and trainer.global_step % self.every == 0:
            self.draw(trainer, pl_module)

    def draw(self, trainer: Trainer, module: Any) -> None:
        """Measure, write and draw, unless this was done at this step.

        ``module``: a LightningModule whose ``model`` is the masked autoencoder.
        """
        if trainer.global_step == self._done_at:
            return
        self._done_at = trainer.global_step
        if trainer.is_global_zero:
            model: MaskedAutoencoder = module.model
            model.eval()
            save_mae(model, self.config, self.folder.model)
            save_mae_encoder(model, self.config, self.folder.encoder)
            with torch.no_grad():
                if self.held_out is not None:
                    loss = held_out_loss(model, self.held_out, self.mask_ratio)
                    for logger in trainer.loggers if math.isfinite(loss) else ():
                        logger.log_metrics({"val/loss": loss}, trainer.global_step)
                sheet = reconstruction_sheet(
                    model, self.shown, self.pictures, self.mask_ratio, self.config
                )
                if sheet is not None:
                    name = f"reconstruction_{trainer.global_step:07d}.png"
                    save_picture(sheet, self.folder.pictures / name)
            model.train()
        trainer.strategy.barrier()


def fixed_masking(model: MaskedAutoencoder, images: Sequence[int], mask_ratio: float) -> Masking:
    """A masking for the images of these numbers that is the same each time, on any device."""
    noise = torch.stack(
        [
            torch.rand(model.patch_count, generator=torch.Generator().manual_seed(number))
            for number in images
        ]
    )
    return mask_by_noise(noise.to(next(model.parameters()).device), mask_ratio)


def held_out_loss(model: MaskedAutoencoder, dataset: UnlabelledDataset, mask_ratio: float) -> float:
    """The mean loss over the middles of up to 256 images, under fixed masks; NaN of none."""
    numbers = dataset.index.spread(_MOST_HELD_OUT)
    total, count = 0.0, 0
    for start in range(0, len(numbers), _IMAGES_AT_ONCE):
        some, images = _middles(model, dataset, numbers[start : start + _IMAGES_AT_ONCE])
        if images is not None:
            total += model.loss(images, fixed_masking(model, some, mask_ratio)).item() * len(some)
            count += len(some)
    return total / count if count else math.nan


def reconstruction_sheet(
    model: MaskedAutoencoder,
    dataset: UnlabelledDataset,
    count: int,
    mask_ratio: float,
    config: MaeConfig,
) -> Image.Image | None:
    """``count`` images, a row each: as it is, what the encoder sees, what the decoder paints.

    None where there is no image to draw.

    Painted patches stand among the visible ones as they are. Where the loss compares normalised
    pixels, hidden patches are painted with their true mean and deviation.
    """
    numbers, images = _middles(model, dataset, dataset.index.spread(count))
    if images is None:
        return None
    masking = fixed_masking(model, numbers, mask_ratio)
    painted = model.reconstruct(images, masking)
    seen = unpatchify(patchify(images) * (1 - masking.hidden[..., None]), model.grid_hw)
    assert config.mean is not None
    assert config.std is not None
    parts = []
    for three in zip(images, seen, painted, strict=True):
        # Seen as one picture, so that values that must be stretched are stretched alike.
        joined = displayable(torch.cat(three, dim=2), config.mean, config.std)
        parts += [Image.fromarray(part) for part in np.split(joined, 3, axis=1)]
    return contact_sheet(parts, 3)


def _middles(
    model: MaskedAutoencoder, dataset: UnlabelledDataset, numbers: Sequence[int]
) -> tuple[list[int], Tensor | None]:
    """The images of these numbers, (B, C, H, W), and which they are.

    Without those that cannot be read, where the data set leaves such out; None of none.
    """
    found: dict[int, Tensor] = {}
    for number in numbers:
        try:
            found[number] = dataset.middle(number)
        except (OSError, ValueError) as error:
            if not dataset.skip_bad:
                raise
            warnings.warn(f"an image is left out: {error}", stacklevel=2)
    if not found:
        return [], None
    return list(found), torch.stack(list(found.values())).to(next(model.parameters()).device)
