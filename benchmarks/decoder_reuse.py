"""Few labels, three ways to start: is it worth taking over the decoder of pretraining?

    python -m benchmarks.decoder_reuse DATA NAME=RUN/model.safetensors … --out runs/reuse

DATA holds ``oam_buildings`` and ``hit_uav``. Both tasks learn from 12 training images, which
``--seeds`` draw, and are scored on the validation images: from ImageNet's encoder, and from the
encoder of each pretrained model NAME, with a fresh decoder and with that of the model. All get the
same images, steps and settings. What was done is not done again; the table is of all that is there.
``--measured-anew`` scores the semantic models with running statistics of their decoder that are
measured on the training images after the training.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from geomtp.data.dataset import StoreDataset
from geomtp.data.mixing import validation_loader
from geomtp.data.sources import SOURCES
from geomtp.data.transforms import EvalTransform
from geomtp.labels import LabelStore
from geomtp.labels.store.format import INFO_NAME
from geomtp.model import load
from geomtp.training.configs import FineTune
from geomtp.training.finetune import finetune
from geomtp.training.finetune_data import train_share
from geomtp.training.run_folder import RunFolder
from geomtp.training.running_statistics import measure_statistics, norms_by_name
from geomtp.training.validation import ValidationSet

EVERY: dict[str, Any] = {
    "encoder": "tf_efficientnet_lite0",
    "mean": (127.0, 127.0, 127.0),
    "std": (128.0, 128.0, 128.0),
    "train_limit": 12,
    "drop_path": 0.0,
    "batch_norm": "frozen_encoder",
    "image_size": 160,
    "resize_relative_to": "image",
    "semantic_channels": 64,
    "detector_channels": 64,
    "fc_channels": 256,
    "anchor_scale": 4.0,
    "proposals": 300,
    "rois": 128,
    "batch_size": 4,
    "steps": 40,
    "learning_rate": 1e-3,
    "layer_decay": None,
    "warmup_steps": 10,
    "workers": 1,
    "pictures": 0,
}
TASKS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "semantic": ("oam_buildings", "semantic/miou", {}),
    "rotated": ("hit_uav", "rotated/ap50/Car", {"rotated_looks": 2, "cut_rboxes": "upright"}),
}
"""Task → source, figure, settings of its own."""


def starts(models: list[str]) -> dict[str, dict[str, Any]]:
    """Name → what a run starts from; ``models``: each as NAME=FILE."""
    found: dict[str, dict[str, Any]] = {"imagenet": {"weights": "imagenet"}}
    for model in models:
        name, _, file = model.partition("=")
        found[f"{name}, encoder"] = {"weights": file}
        found[f"{name}, encoder and decoder"] = {"weights": file, "reuse_decoder": True}
    return found


def store_of(source: str, data: Path, out: Path) -> Path:
    """The label store of a source below ``out``, built if there is none."""
    if not (out / source / INFO_NAME).is_file():
        SOURCES[source].build(data / source, out / source)
    return out / source


def runs(
    chosen: argparse.Namespace, task: str, known: dict[str, dict[str, Any]]
) -> Iterator[tuple[str, FineTune]]:
    """Each run by the name of its start; the seeds of one start after the other."""
    source, _, own = TASKS[task]
    store = store_of(source, chosen.data, chosen.out / "stores")
    for seed in chosen.seeds:
        for name, start in known.items():
            out = chosen.out / f"{task} {name} {seed}".replace(", ", "_").replace(" ", "_")
            yield (
                name,
                FineTune(
                    task=task,  # type: ignore[arg-type]
                    data=store,
                    out=out,
                    seed=seed,
                    **(EVERY | own | start),
                ),
            )


def figure_of(config: FineTune, figure: str) -> float:
    """The score of a run, which is done if it was not."""
    folder = RunFolder(config.out)
    if not folder.scores.is_file():
        finetune(config, say=lambda text: None)
    (scores,) = json.loads(folder.scores.read_text())["scores"].values()
    return float(scores[figure])


def measured_anew(config: FineTune, source: str) -> float:
    """The mIoU of a semantic run whose decoder's statistics are those of its training images."""
    assert config.data is not None
    store = LabelStore(config.data)
    training = train_share(store.subset("train"), limit=config.train_limit, seed=config.seed)

    def whole(part: LabelStore) -> StoreDataset:
        view = EvalTransform()
        return StoreDataset(part, view, ("semantic",), mean=config.mean, std=config.std)

    model = load(RunFolder(config.out).model)
    steps = validation_loader(whole(training), source, batch_size=6)
    measure_statistics(
        model,
        ({source: batch} for batch in steps),
        [n for n in norms_by_name(model) if n.startswith("decoders.semantic.trunk.")],
    )
    scores = ValidationSet({source: whole(store.subset("val"))}, 0, None).scores(model.eval())
    return scores[source]["semantic/miou"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("models", nargs="*", metavar="NAME=FILE")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--measured-anew", action="store_true")
    chosen = parser.parse_args()
    known = starts(chosen.models)
    for task in chosen.tasks:
        found: dict[str, list[float]] = {name: [] for name in known}
        figure = TASKS[task][1]
        for name, config in runs(chosen, task, known):
            found[name].append(figure_of(config, figure))
            if chosen.measured_anew and task == "semantic":
                found[name][-1] = measured_anew(config, TASKS[task][0])
            print(f"{task}, {name}, seed {config.seed}: {found[name][-1]:.3f}", flush=True)
        for name, values in found.items():
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            mean, count = statistics.mean(values), len(values)
            print(f"{figure}, {name:<32} {mean:.3f} ± {spread:.3f} (n = {count} seeds)")


if __name__ == "__main__":
    main()
