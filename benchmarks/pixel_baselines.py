"""What arithmetic on single pixels makes of a label store of few bands: the least to be beaten.

    python -m benchmarks.pixel_baselines change runs/taizhou/stores/taizhou --test test
    python -m benchmarks.pixel_baselines semantic runs/clouds/stores/cloud_scenes --test test

--train and --test take names of splits, several with commas between.

Change: a threshold on the length of the difference of the bands, each standardised over the
training pairs; the threshold is the best of the training split. Semantic: the nearest class mean,
and logistic regression, on standardised bands. All is chosen on the training split, the test split
is scored once.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from geomtp.labels import LabelStore, change_map, semantic_map
from geomtp.metrics.semantic import SemanticScore
from geomtp.rasters import read_window

THRESHOLDS = np.linspace(0, 12, 241)
FITTED_PIXELS = 20_000

Pixels = NDArray[Any]


def bands_of(store: LabelStore, path: str) -> Pixels:
    """(H · W, C) float64."""
    pixels = read_window(store.image_root / path, bands=range(len(store.mean)))
    return pixels.reshape(-1, pixels.shape[2]).astype(np.float64)


def pairs(store: LabelStore, splits: Sequence[str]) -> tuple[Pixels, Pixels]:
    """Differences (P, C) of all pixels of the splits, and what changed (P,)."""
    rows = [row for row in store if row.split in splits and row.image_after is not None]
    both = [bands_of(store, row.image_after or "") - bands_of(store, row.image) for row in rows]
    values = store.info.change_values
    truth = [change_map(row, store.image_root, values=values).ravel() for row in rows]
    return np.concatenate(both), np.concatenate(truth)


def f1(found: Pixels, truth: Pixels) -> float:
    """Of changed pixels, those that are not labelled left out."""
    common, wrong = (found & (truth == 1)).sum(), (found & (truth == 0)).sum()
    missed = (~found & (truth == 1)).sum()
    return float(2 * common / (2 * common + wrong + missed))


def change(store: LabelStore, train: Sequence[str], test: Sequence[str]) -> None:
    """Print the F1 of the best threshold."""
    known, truth = pairs(store, train)
    mean, std = known.mean(axis=0), known.std(axis=0)

    def length(differences: Pixels) -> Pixels:
        return np.asarray(np.sqrt((((differences - mean) / std) ** 2).sum(axis=1)))

    lengths = length(known)
    best = max(THRESHOLDS, key=lambda t: f1(lengths > t, truth))
    unseen, wanted = pairs(store, test)
    print(f"threshold {best:.2f}: F1 {f1(lengths > best, truth):.3f} on {','.join(train)}")
    print(f"F1 {f1(length(unseen) > best, wanted):.3f} on {','.join(test)}")
    print(f"n = {(wanted == 1).sum()} changed and {(wanted == 0).sum()} unchanged pixels")


def pixels(store: LabelStore, splits: Sequence[str]) -> tuple[Pixels, Pixels]:
    """Bands (P, C) of all pixels of the splits, and their values in the semantic map (P,)."""
    rows = [row for row in store if row.split in splits]
    values = store.info.semantic_values
    truth = [semantic_map(row, store.image_root, values=values).ravel() for row in rows]
    return np.concatenate([bands_of(store, row.image) for row in rows]), np.concatenate(truth)


def fitted(bands: Tensor, truth: Tensor, classes: int) -> nn.Linear:
    """Logistic regression by L-BFGS, with a little decay of its weights."""
    layer = nn.Linear(bands.shape[1], classes, dtype=bands.dtype)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimiser = torch.optim.LBFGS(layer.parameters(), max_iter=200)

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = F.cross_entropy(layer(bands), truth) + 1e-4 * layer.weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(loss)  # type: ignore[arg-type]
    return layer


def semantic(store: LabelStore, train: Sequence[str], test: Sequence[str]) -> None:
    """Print the IoU of each class of the two ways."""
    names = ("background", *store.classes.names)
    bands, truth = pixels(store, train)
    mean, std = bands.mean(axis=0), bands.std(axis=0)
    known = truth != 255
    standard, truth = (bands[known] - mean) / std, truth[known]
    unseen, wanted = pixels(store, test)
    unseen = (unseen - mean) / std
    present = np.unique(truth)
    means = np.stack([standard[truth == k].mean(axis=0) for k in present])
    nearest = present[((unseen[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)]
    some = np.random.default_rng(0).permutation(len(truth))[:FITTED_PIXELS]
    labels = torch.from_numpy(truth[some]).long()
    layer = fitted(torch.from_numpy(standard[some]), labels, len(names))
    regressed = layer(torch.from_numpy(unseen)).argmax(dim=1).numpy()
    for way, found in (("nearest class mean", nearest), ("logistic regression", regressed)):
        score = SemanticScore(len(names))
        score.update(torch.from_numpy(found[None].astype(np.uint8)), torch.from_numpy(wanted[None]))
        result = score.compute()
        own = zip(names, result.iou, strict=True)
        shown = ", ".join(f"{name} {iou:.3f}" for name, iou in own if iou == iou)
        print(f"{way:<20} mIoU {result.mean_iou:.3f} ({shown})")
    print(f"n = {(wanted != 255).sum()} pixels of {','.join(test)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=("change", "semantic"))
    parser.add_argument("store", type=Path)
    parser.add_argument("--train", default="train")
    parser.add_argument("--test", default="val")
    chosen = parser.parse_args()
    score = {"change": change, "semantic": semantic}[chosen.task]
    score(LabelStore.open(chosen.store), chosen.train.split(","), chosen.test.split(","))


if __name__ == "__main__":
    main()
