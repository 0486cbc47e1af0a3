"""Figures of runs of ``real_small.yaml``, as the tables of docs/real_small.md.

``python -m benchmarks.real_small_report DATA NAME=RUN …``: all scores of every run side by side,
with sample sizes, and the rotated AP50 of cars on images far from any training image: HIT-UAV is
cut from video and its split leaks neighbouring frames; the last number of a file's name counts
frames. ``--curves FILE NAME=RUN …`` instead draws how the runs learned.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import torch

from geomtp.data.dataset import StoreDataset
from geomtp.data.mixing import validation_loader
from geomtp.metrics.rotated import RotatedScore
from geomtp.model import MultiTaskModel, load
from geomtp.recipes.filling import fill
from geomtp.training.configs import PretrainMTP
from geomtp.training.curves import read_metrics
from geomtp.training.mtp import datasets
from geomtp.training.run_folder import RunFolder
from geomtp.training.stores import open_stores

FAR_FRAMES = (0, 20, 100)

CURVES = {
    "val/hit_uav/rotated/ap50/Car": "cars, rotated AP50",
    "val/oam_buildings/semantic/iou/building": "buildings, semantic IoU",
    "val/oam_buildings/mask/ap50": "buildings, mask AP50",
    "val/oam_buildings/rotated/ap50": "buildings, rotated AP50",
    "val/neon_trees/rotated/ap50": "trees, rotated AP50",
}
"""What is drawn by step."""


def frame(image: str) -> int:
    return int(Path(image).stem.rsplit("_", 1)[1])


def far_from_training(store, frames: int) -> set[str]:
    """Validation images more than ``frames`` frames away from every training image."""
    trained = [frame(labels.image) for labels in store.subset("train")]
    return {
        labels.image
        for labels in store.subset("val")
        if frames == 0 or min(abs(frame(labels.image) - t) for t in trained) > frames
    }


@torch.no_grad()
def cars_far_away(model: MultiTaskModel, dataset: StoreDataset, store) -> dict[int, str]:
    groups = {frames: far_from_training(store, frames) for frames in FAR_FRAMES}
    names = store.classes.names
    scores = {frames: RotatedScore(names) for frames in FAR_FRAMES}
    cars: Counter[int] = Counter()
    for batch in validation_loader(dataset, "hit_uav"):
        found = model.predict(
            batch.images, batch.image_sizes_hw, "hit_uav", batch.original_sizes_hw
        )
        for image, predictions, targets in zip(batch.image_ids, found, batch.targets, strict=True):
            for frames, group in groups.items():
                if image in group:
                    scores[frames].update(image, predictions, targets)
                    cars[frames] += int((targets.rbox_labels == names.index("Car")).sum())
    return {
        frames: f"{score.compute().ap50[names.index('Car')]:.3f} "
        f"(n = {len(groups[frames])} images, {cars[frames]} cars)"
        for frames, score in scores.items()
    }


def draw(file: str, *runs: str) -> None:
    """One panel for each of CURVES, one line for each of ``runs``, into ``file``."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.2 * len(CURVES), 2.9), layout="constrained")
    panels = figure.subplots(1, len(CURVES), sharey=True)
    for run in runs:
        name, _, path = run.partition("=")
        metrics = read_metrics(RunFolder(Path(path)).metrics)
        for panel, (figure_name, title) in zip(panels, CURVES.items(), strict=True):
            steps, values = zip(*metrics[figure_name], strict=True)
            panel.plot(steps, values, marker="o", markersize=3, label=name)
            panel.set(title=title, xlabel="step", ylim=(0, 1))
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.savefig(file, dpi=110)


def main(data: str, *runs: str) -> None:
    columns: dict[str, dict[str, float]] = {}
    far: dict[str, dict[int, str]] = {}
    sizes: list[str] = []
    for run in runs:
        name, _, path = run.partition("=")
        folder = RunFolder(Path(path))
        config = fill(PretrainMTP, ["--config", str(folder.config), "--data", data], "report")
        stores = open_stores(list(config.sources), config.data, folder.stores)
        held_out = datasets(config, stores, "val", training=False)
        metrics = read_metrics(folder.metrics)
        columns[name] = {
            n: points[-1][1]
            for n, points in metrics.items()
            if n.startswith("val/") and n.count("/") > 2
        }
        far[name] = cars_far_away(load(folder.model), held_out["hit_uav"], stores["hit_uav"])
        sizes = [
            f"{source}: {len(stores[source].subset('train'))} training images, "
            f"{len(stores[source].subset('val'))} validation images with "
            f"{sum(len(labels.rbox_labels) for labels in stores[source].subset('val'))} objects"
            for source in stores
        ]
    print("\n".join(sizes), "\n")
    print("| validation | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for figure in dict.fromkeys(n for column in columns.values() for n in column):
        cells = (f"{c[figure]:.3f}" if figure in c else "" for c in columns.values())
        print(f"| {figure.removeprefix('val/')} | " + " | ".join(cells) + " |")
    for frames in FAR_FRAMES:
        cells = (column[frames] for column in far.values())
        print(f"| rotated AP50 of Car, more than {frames} frames away | {' | '.join(cells)} |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--curves"]:
        draw(*sys.argv[2:])
    else:
        main(*sys.argv[1:])
