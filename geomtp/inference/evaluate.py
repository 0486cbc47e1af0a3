"""Scores of a model on labelled images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch

from geomtp.metrics.source_scores import SourceScores
from geomtp.model import MultiTaskModel
from geomtp.types import Batch, ClassMap, Predictions

Progress = Callable[[str, int], None]
"""Told the source and the number of images done so far."""


def predict_batch(model: MultiTaskModel, batch: Batch) -> list[Predictions]:
    """What ``model`` says of each image of ``batch``, in pixels of its file, on the CPU."""
    device = next(model.parameters()).device
    found = model.predict(
        batch.images.to(device),
        batch.image_sizes_hw,
        batch.source,
        batch.original_sizes_hw,
        None if batch.images_after is None else batch.images_after.to(device),
    )
    return [predictions.to("cpu") for predictions in found]


@torch.no_grad()
def evaluate(
    model: MultiTaskModel,
    loaders: Mapping[str, Iterable[Batch]],
    classes: Mapping[str, ClassMap],
    progress: Progress | None = None,
) -> dict[str, dict[str, float]]:
    """The scores of each source: source → name → fraction (``SourceScores.summary``).

    Each process brings its own share of the images; all get the scores of all. The model is in
    evaluation mode meanwhile, and afterwards in the mode it was in.
    """
    was_training = model.training
    model.eval()
    scores = {}
    for source, loader in loaders.items():
        collected = SourceScores(classes[source], model.tasks_of(source))
        done = 0
        for batch in loader:
            found = predict_batch(model, batch)
            for image_id, predictions, targets in zip(
                batch.image_ids, found, batch.targets, strict=True
            ):
                collected.update(image_id, predictions, targets)
            done += len(batch.targets)
            if progress:
                progress(source, done)
        scores[source] = collected.summary()
    model.train(was_training)
    return scores
