"""The stage of fine-tuning: few images of a new place, and what each start brings."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from geomtp.data.scenes import EMBEDDED, EmbeddedSource
from geomtp.demo.chapters import Chapter
from geomtp.demo.pretraining import multi_task_config
from geomtp.demo.stages import Demo, going_on
from geomtp.labels.store.format import INFO_NAME
from geomtp.recipes.filling import fill
from geomtp.training.configs import FineTune
from geomtp.training.finetune import finetune
from geomtp.training.run_folder import RunFolder
from geomtp.types import ClassMap

KIND = "town"
CLASSES = ClassMap(
    (
        *("small-vehicle", "large-vehicle", "building"),
        *("tennis-court", "basketball-court", "swimming-pool"),
    )
)
"""Finer ones than pretraining knows."""

_NAME = "quarter"
_SEED = 7  # pretraining draws from 0: other scenes
_FLAGS = (
    *("--task", "semantic", "--image_size", "256", "--resize_relative_to", "image"),
    *("--resize_range", "[0.8, 1.25]", "--photometric", "false", "--drop_path", "0"),
    *("--semantic_channels", "64", "--batch_size", "4", "--learning_rate", "1e-3"),
    *("--layer_decay", "null", "--warmup_steps", "5", "--workers", "1", "--pictures", "2"),
)


@dataclass(frozen=True)
class Start:
    """What a fine-tuning starts from: the name of its folder, words for it, flags."""

    name: str
    words: str
    flags: tuple[str, ...]


def fine_tuning(demo: Demo) -> Chapter:
    """Fine-tune semantic segmentation from each start, with the same images and steps."""
    folder = demo.folder("finetune")
    own = _own_place(demo)
    if not (folder / _NAME / INFO_NAME).is_file():
        own.build(None, folder / _NAME)
    rows = [
        (start.words, config.encoder, _trained(demo, config))
        for start in starts(demo)
        for config in [_config(demo, start)]
    ]
    config = _config(demo, starts(demo)[0])
    return Chapter(
        text=(
            f"A new place, {own.train} labelled images of it, and finer classes than pretraining "
            f"knew ({', '.join(CLASSES.names)}): one task is learned, a map of classes. "
            f"{config.steps} steps of {config.batch_size} images from each start, scored on "
            f"{own.val} other images: mean IoU over classes. One run each: differences of a few "
            f"hundredths say nothing; geomtp study stages compares with several seeds.",
        ),
        command="geomtp finetune semantic --data DATA --encoder tf_efficientnet_lite0 --weights "
        "runs/mtp/model.safetensors --reuse-decoder true --out runs/mine",
        heads=("start", "encoder", "semantic mIoU"),
        rows=tuple(rows),
        pictures={
            f"finetune/from_mtp/pictures/{_NAME}.png": "After multi-task pretraining: truth above "
            "prediction, held-out images"
        },
    )


def fine_tuned(demo: Demo) -> Path:
    """The model that multi-task pretraining and fine-tuning gave."""
    return RunFolder(demo.folder("finetune") / "from_mtp").model


def starts(demo: Demo) -> list[Start]:
    """What to start from: stage by stage, for the encoder of multi-task pretraining and the ViT."""
    mtp, mae = multi_task_config(demo), RunFolder(demo.folder("mae"))
    mean, std = (json.dumps(list(values)) for values in (mtp.mean or (), mtp.std or ()))
    cnn = ("--encoder", mtp.encoder, "--mean", mean, "--std", std)
    held = ("--batch_norm", "frozen_encoder") if mtp.weights else ()
    vit = ("--encoder", "vit_t_rvsa")
    model = str(RunFolder(demo.folder("mtp")).model)
    reused = ("--weights", model, "--reuse_decoder", "true")
    before = "ImageNet, then " if mtp.weights else ""
    found = [
        Start("from_nothing", "nothing", cnn),
        Start("from_mtp", f"{before}MTP (stage 3)", (*cnn, *held, *reused)),
        Start("vit_from_nothing", "nothing", vit),
        Start("vit_from_mae", "MAE (stage 2)", (*vit, "--weights", str(mae.encoder))),
    ]
    if mtp.weights:
        given = (*cnn, *held, "--weights", mtp.weights)
        found.insert(1, Start("from_imagenet", "ImageNet", given))
    return [start for start in found if start.name in demo.size.starts]


def _own_place(demo: Demo) -> EmbeddedSource:
    known = EMBEDDED["embedded_town"]
    return EmbeddedSource(
        _NAME,
        KIND,
        CLASSES,
        known.mean,
        known.std,
        train=demo.size.own_train,
        val=demo.size.own_val,
        seed=_SEED,
    )


def _config(demo: Demo, start: Start) -> FineTune:
    folder = demo.folder("finetune")
    flags = ["--data", str(folder / _NAME), "--out", str(folder / start.name)]
    return fill(FineTune, [*_FLAGS, *flags, *start.flags, *demo.size.finetune], "geomtp demo")


def _trained(demo: Demo, config: FineTune) -> float:
    """The mean IoU of a run, which is done unless it was before."""
    folder = RunFolder(config.out)
    if not (folder.path / "curves.png").is_file():  # the last file that a run writes
        demo.say(f"fine-tuning from {config.weights or 'random weights'}")
        if finetune(going_on(config), demo.say).stopped:
            raise KeyboardInterrupt
        shutil.rmtree(folder.last.parent)  # nobody goes on with it, and several of them are large
    scores = json.loads(folder.scores.read_text("utf-8"))["scores"]
    return float(scores[_NAME]["semantic/miou"])
