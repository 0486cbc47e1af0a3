"""Where an encoder meets its decoders: one model for many tasks and many sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geomtp.checkpoints import FitsOfficialTensors, HasOfficialKeys
from geomtp.decoders.decoder import Decoder
from geomtp.decoders.early_gradients import PartialLoss, summed_loss
from geomtp.encoders.encoder import Encoder
from geomtp.model.config import ModelConfig
from geomtp.types import TASKS, Batch, FeaturePyramid, Predictions, SizeHW

SIZE_DIVISOR = 32


class MultiTaskModel(nn.Module):
    """One encoder, one decoder per task; each decoder has one classifier per source.

    - decoders: by task name
    - config: what the model was built from, where it was built by ``build_model``
    """

    def __init__(
        self,
        encoder: Encoder,
        decoders: Mapping[str, Decoder],
        config: ModelConfig | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoders = nn.ModuleDict(decoders)
        self.config = config

    def loss(self, batches: Mapping[str, Batch]) -> dict[str, Tensor]:
        """Scalar losses named ``task/loss/source``, after one pass of all images of all sources."""
        images, starts = self._concatenated(batches)
        pyramid = self.encoder(images)
        losses: dict[str, Tensor] = {}
        for source in batches:
            for task in self.tasks_of(source):
                part = pyramid.of_images(*self._span(task, starts[source], batches[source]))
                losses |= self._decoder_losses(task, part, batches[source])
        return losses

    def total_loss(
        self,
        batches: Mapping[str, Batch],
        weights: Mapping[str, float] | None = None,
        log_variances: Mapping[str, Tensor] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of all losses, to train on, and each loss by name, without gradient.

        The same numbers and gradients as from ``loss``, in much less memory: each decoder's
        activations are gone when the next begins (``early_gradients``).

        - weights: factor by ``task/loss/source``, ``task/loss`` or ``task`` (the longest counts); 1
          where nothing is said
        - log_variances: scalars s by ``task/source``: what these two add, L, then counts as
          exp(−s)·L + s, and s gets its gradient too
        """
        images, starts = self._concatenated(batches)
        losses: dict[str, Tensor] = {}

        def partial(task: str, source: str) -> PartialLoss:
            def loss(pyramid: FeaturePyramid) -> Tensor:
                found = self._decoder_losses(task, pyramid, batches[source])
                losses.update({name: value.detach() for name, value in found.items()})
                weighed = torch.stack(
                    [value * loss_weight(name, weights or {}) for name, value in found.items()]
                ).sum()
                if log_variances is None:
                    return weighed
                log_variance = log_variances[f"{task}/{source}"]
                return weighed * torch.exp(-log_variance) + log_variance

            return PartialLoss(*self._span(task, starts[source], batches[source]), loss)

        parts = [partial(task, source) for source in batches for task in self.tasks_of(source)]
        parameters = [*self.decoders.parameters(), *(log_variances or {}).values()]
        total = summed_loss(self.encoder(images), parts, parameters)
        return total, losses

    def _decoder_losses(
        self, task: str, pyramid: FeaturePyramid, batch: Batch
    ) -> dict[str, Tensor]:
        decoder = self._decoder(task)
        found = decoder.loss(pyramid, batch.targets, batch.image_sizes_hw, batch.source)
        return {f"{task}/{name}/{batch.source}": value for name, value in found.items()}

    def _concatenated(self, batches: Mapping[str, Batch]) -> tuple[Tensor, dict[str, int]]:
        """All images in one tensor of the largest size, and where each source's images start.

        A source's images of the second date follow those of the first, where a decoder needs them.
        """
        if not batches:
            raise ValueError("a step needs the batch of at least one source")
        heights, widths = zip(*(batch.images.shape[-2:] for batch in batches.values()), strict=True)
        size_hw = _multiple_of((max(heights), max(widths)))
        starts, parts, start = {}, [], 0
        for source, batch in batches.items():
            starts[source] = start
            for images in self._dates(source, batch.images, batch.images_after):
                parts.append(_padded(images, size_hw))
                start += len(images)
        return torch.cat(parts), starts

    def _dates(self, source: str, images: Tensor, images_after: Tensor | None) -> list[Tensor]:
        """The images that the decoders of ``source`` need, by date."""
        if max(self._decoder(task).dates for task in self.tasks_of(source)) == 1:
            return [images]
        if images_after is None:
            raise ValueError(f"the images of {source} need those of a second date to show change")
        if self.config is None:
            return [images, images_after]
        return [images, self.config.sources[source].in_light_of_first(images_after)]

    def _span(self, task: str, start: int, batch: Batch) -> tuple[int, int]:
        """The first and the last + 1 of the images of ``batch`` that a decoder looks at."""
        return start, start + self._decoder(task).dates * len(batch.images)

    def _decoder(self, task: str) -> Decoder:
        return cast(Decoder, self.decoders[task])

    def tasks_of(self, source: str) -> list[str]:
        """The tasks that have a classifier for ``source``. Raises ValueError if there is none."""
        known = {task: self._decoder(task).classifiers for task in self.decoders}
        tasks = [task for task, classifiers in known.items() if source in classifiers]
        if not tasks:
            names = sorted({name for classifiers in known.values() for name in classifiers})
            raise ValueError(f"the model knows no source {source!r}; known: {', '.join(names)}")
        return tasks

    @torch.no_grad()
    def predict(
        self,
        images: Tensor,
        image_sizes_hw: Sequence[SizeHW],
        source: str,
        output_sizes_hw: Sequence[SizeHW] | None = None,
        images_after: Tensor | None = None,
    ) -> list[Predictions]:
        """Predictions of all tasks of ``source`` for normalised images (B, C, H, W).

        In pixels of each image, or of ``output_sizes_hw`` where given. ``images_after``: those of
        the second date, for change. Raises ValueError when they are needed and missing.
        """
        dates = torch.cat(self._dates(source, images, images_after))
        pyramid = self.encoder(_padded(dates, _multiple_of(images.shape[-2:])))
        parts = []
        for task in self.tasks_of(source):
            decoder = self._decoder(task)
            own = pyramid.of_images(0, decoder.dates * len(images))
            parts.append(decoder.predict(own, image_sizes_hw, source, output_sizes_hw))
        return [Predictions.joined(image_parts) for image_parts in zip(*parts, strict=True)]

    def official_keys(self) -> dict[str, str]:
        """Our state-dict keys and those of the reference.

        They are those of a fine-tuned model where there is one decoder of one source, or none of
        pretraining; else those of its pretraining framework.
        """
        of_pretraining = any(task in TASKS for task in self.decoders)
        return self._keys(fine_tuned=self._is_alone or not of_pretraining)

    def other_official_keys(self) -> dict[str, str]:
        """The names that a model of one decoder and one source has in a file of pretraining."""
        return self._keys(fine_tuned=False) if self._is_alone else {}

    @property
    def _is_alone(self) -> bool:
        """Whether there is one decoder of one source."""
        return [len(self._decoder(task).classifiers) for task in self.decoders] == [1]

    def _keys(self, *, fine_tuned: bool) -> dict[str, str]:
        """Our state-dict keys and those of a fine-tuned model, or of the pretraining framework."""
        if not isinstance(self.encoder, HasOfficialKeys):
            raise ValueError(f"{type(self.encoder).__name__} has no official counterpart")
        names = {name: None for task in self.decoders for name in self._decoder(task).classifiers}
        order = list(self.config.sources) if self.config else list(names)
        numbers = {source: index + 1 for index, source in enumerate(order)}
        own = self.encoder.official_keys()
        prefix = "backbone" if fine_tuned else "encoder"
        keys = {f"encoder.{ours}": f"{prefix}.{theirs}" for ours, theirs in own.items()}
        for task in self.decoders:
            decoder = self._decoder(task)
            table = decoder.fine_tuned_keys() if fine_tuned else decoder.official_keys(numbers)
            for ours, theirs in table.items():
                keys[f"decoders.{task}.{ours}"] = theirs
        return keys

    def fit_official(self, key: str, tensor: Tensor) -> Tensor:
        """``tensor``, resized where the encoder's tables are of another size."""
        part, _, name = key.partition(".")
        if part == "encoder" and isinstance(self.encoder, FitsOfficialTensors):
            return self.encoder.fit_official(name, tensor)
        return tensor


def loss_weight(name: str, weights: Mapping[str, float]) -> float:
    """The weight of the loss ``task/loss/source``: that of its longest prefix in ``weights``."""
    parts = name.split("/")
    prefixes = ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]
    return next((weights[prefix] for prefix in prefixes if prefix in weights), 1.0)


def _multiple_of(size_hw: Sequence[int]) -> SizeHW:
    height, width = (-(-side // SIZE_DIVISOR) * SIZE_DIVISOR for side in size_hw)
    return height, width


def _padded(images: Tensor, size_hw: SizeHW) -> Tensor:
    below, right = size_hw[0] - images.shape[-2], size_hw[1] - images.shape[-1]
    return F.pad(images, (0, right, 0, below)) if below or right else images
