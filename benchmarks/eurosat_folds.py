"""Land use of EuroSAT tiles in five folds: probes of given features, and ways of fine-tuning.

    python -m benchmarks.eurosat_folds DATA/eurosat_tiles --out runs/folds

Of each class, the tiles in the order of the hashes of their names are dealt to the folds in turn.
Each fold is scored once, by a model that was fitted on the four others. Printed are mean and
standard deviation over the folds, of 200 tiles each.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from geomtp.data.sources.eurosat_tiles import EurosatTiles
from geomtp.labels import LabelStore, write_store
from geomtp.labels.hash_order import hash_order
from geomtp.training.configs import FineTune
from geomtp.training.finetune import finetune

FOLDS = 5
ENCODER: dict[str, Any] = {
    "encoder": "tf_efficientnet_lite0",
    "weights": "imagenet",
    "mean": (127.0, 127.0, 127.0),
    "std": (128.0, 128.0, 128.0),
    "drop_path": 0.0,
    "image_size": 96,
    "batch_size": 32,
    "workers": 1,
    "pictures": 0,
}
STEPS: dict[str, Any] = {
    "steps": 160,
    "learning_rate": 1e-3,
    "warmup_steps": 20,
    "layer_decay": None,
    "photometric": False,
}
WAYS: dict[str, dict[str, Any]] = {
    "probe": {"probe": True},
    "finetune": STEPS,
    "colours_varied": STEPS | {"photometric": True},
    "frozen": STEPS | {"freeze_encoder": True},
    "lora": STEPS | {"lora_rank": 8, "batch_norm": "frozen_encoder"},
}


def folds(sheets: Path, out: Path) -> Iterator[Path]:
    """The folder of each fold's label store, in which its tiles are those of validation."""
    store = EurosatTiles().build(sheets, out / "all")
    by_class: dict[int, list[str]] = defaultdict(list)
    for row in store:
        by_class[row.scene_class or 0].append(row.image)
    places = {
        image: place
        for images in by_class.values()
        for place, image in enumerate(hash_order(images))
    }
    for fold in range(FOLDS):
        rows = [
            dataclasses.replace(row, split="val" if places[row.image] % FOLDS == fold else "train")
            for row in store
        ]
        folder = out / f"fold_{fold}"
        write_store(folder, rows, store.info)
        yield folder


def figures_of(store: Path, out: Path, way: str) -> dict[str, float]:
    config = FineTune(task="scene", data=store, out=out, **ENCODER, **WAYS[way])
    return dict(finetune(config, say=lambda text: None).figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sheets", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    chosen = parser.parse_args()
    found: dict[str, list[float]] = defaultdict(list)
    for folder in folds(chosen.sheets, chosen.out / "stores"):
        sizes = [len(LabelStore(folder).subset(split)) for split in ("train", "val")]
        for way in chosen.ways:
            for name, value in figures_of(folder, chosen.out / way / folder.name, way).items():
                if name.endswith("accuracy"):
                    found[f"{way}: {name}"].append(value)
        shown = ", ".join(f"{name} {values[-1]:.3f}" for name, values in found.items())
        print(f"{folder.name} ({sizes[0]} and {sizes[1]} tiles): {shown}", flush=True)
    for name, values in found.items():
        spread = statistics.stdev(values)
        print(f"{name:<32} {statistics.mean(values):.3f} ± {spread:.3f} (n = {len(values)} folds)")


if __name__ == "__main__":
    main()
