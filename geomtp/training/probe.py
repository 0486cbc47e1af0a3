"""Probes: how well the features of an encoder tell scenes apart, without training the encoder."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geomtp.data.dataset import StoreDataset
from geomtp.data.mixing import validation_loader
from geomtp.decoders.linear import pooled
from geomtp.encoders.encoder import Encoder
from geomtp.model import MultiTaskModel
from geomtp.training.configs import FineTune
from geomtp.training.run import RunData, RunResult
from geomtp.training.run_folder import RunFolder
from geomtp.training.stores import Say
from geomtp.training.validation import ValidationSet, write_models, write_scores
from geomtp.types import Batch

TEMPERATURE = 0.07
"""How fast a neighbour's vote falls with its distance (arXiv 1805.01978, section 3.4)."""


@dataclass(frozen=True)
class Features:
    """The mean feature (N, C) of each image and its class (N,), in float32 on the CPU."""

    values: Tensor
    classes: Tensor


def probe(
    config: FineTune, folder: RunFolder, model: MultiTaskModel, data: RunData, say: Say
) -> RunResult:
    """Score nearest neighbours and a linear layer on the features of the held-out images.

    Images are seen once, as in validation. The linear layer becomes the model's classifier, which
    is written as by a training; the scores are its own, and ``scene/knn_accuracy``.
    """
    on_gpu = config.accelerator != "cpu" and torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    model.to(device).eval()
    ((source, held_out),) = data.held_out.items()
    seen = dataclasses.replace(data.training[source], transform=held_out.transform)
    training, queries = (_features_of(model, config, d, source, device) for d in (seen, held_out))
    count = len(held_out.store.classes)
    found = nearest_neighbours(training, queries.values, config.neighbours, count)
    layer = cast(nn.Linear, model.decoders["scene"].classifiers[source])  # type: ignore[index]
    weight, bias = fit_linear(training, count)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    validation = ValidationSet(data.held_out, config.workers, config.validation_limit)
    scores = validation.scores(model)
    right = (found == queries.classes).double().mean()
    scores[source]["scene/knn_accuracy"] = float(right)
    say(f"accuracy of the {config.neighbours} nearest neighbours {float(right):.3f}")
    write_models(model, folder)
    write_scores(scores, 0, validation.counts, folder)
    if config.pictures:
        with torch.no_grad():
            validation.draw(model, folder, config.pictures)
    return data.result(config, folder, scores, steps=0, stopped=False)


def _features_of(
    model: MultiTaskModel,
    config: FineTune,
    dataset: StoreDataset,
    source: str,
    device: torch.device,
) -> Features:
    loader = validation_loader(
        dataset, source, batch_size=config.batch_size, workers=config.workers
    )
    return image_features(model.encoder, loader, device)


@torch.no_grad()
def image_features(
    encoder: Encoder, batches: Iterable[Batch], device: torch.device | str = "cpu"
) -> Features:
    """The coarsest features of each image, averaged over it; images without a class are left out.

    Raises ValueError when no image has one.
    """
    values, classes = [], []
    for batch in batches:
        labelled = [i for i, t in enumerate(batch.targets) if t.scene_class is not None]
        found = pooled(encoder(batch.images.to(device)), batch.image_sizes_hw)
        values.append(found[labelled].float().cpu())
        classes += [batch.targets[i].scene_class for i in labelled]
    if not classes:
        raise ValueError("a probe needs images with a class, found none")
    return Features(torch.cat(values), torch.tensor(classes))


def nearest_neighbours(known: Features, queries: Tensor, count: int, num_classes: int) -> Tensor:
    """The class (Q,) of each of the ``queries`` (Q, C), by the votes of its nearest neighbours.

    The ``count`` known features of largest cosine vote, each by exp(cosine / 0.07): of equally near
    neighbours the majority counts. Source: Wu et al. 2018 (arXiv 1805.01978).
    """
    cosines = F.normalize(queries, dim=1) @ F.normalize(known.values, dim=1).T
    nearest = cosines.topk(min(count, len(known.classes)), dim=1)
    votes = queries.new_zeros(len(queries), num_classes)
    weights = ((nearest.values - 1) / TEMPERATURE).exp()  # − 1: the largest weight is 1
    votes.scatter_add_(1, known.classes[nearest.indices], weights)
    return votes.argmax(dim=1)


def fit_linear(known: Features, num_classes: int) -> tuple[Tensor, Tensor]:
    """Weight (K, C) and bias (K,) of the best linear layer: logistic regression.

    Cross-entropy summed over all images, and half the squared weights on features of standard
    deviation 1; found by L-BFGS, without chance. The standardisation is part of what comes back.
    """
    values = known.values.double()
    mean, std = values.mean(dim=0), values.std(dim=0, correction=0).clamp(min=1e-6)
    inputs = (values - mean) / std
    weight = inputs.new_zeros(num_classes, inputs.shape[1]).requires_grad_()
    bias = inputs.new_zeros(num_classes).requires_grad_()
    search = torch.optim.LBFGS(
        [weight, bias], max_iter=500, tolerance_grad=1e-7, line_search_fn="strong_wolfe"
    )

    def objective() -> Tensor:
        search.zero_grad()
        loss = F.cross_entropy(F.linear(inputs, weight, bias), known.classes)
        loss = loss + weight.square().sum() / (2 * len(inputs))
        loss.backward()
        return loss

    search.step(objective)
    scaled = weight.detach() / std
    return scaled.float(), (bias.detach() - scaled @ mean).float()
