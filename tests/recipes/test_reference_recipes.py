"""The recipes of fine-tuning against the 95 runs of the reference, setting by setting.

What differs on purpose, what is not built yet and what the reference does not tell is listed in the
tables below, and in docs/from-mtp.md; nothing else may differ, and nothing may be listed in vain.
"""

from __future__ import annotations

import inspect
import json
import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from geomtp.data.sources import PUBLIC
from geomtp.decoders import faster_rcnn, oriented_rcnn, retinanet
from geomtp.decoders.detection.horizontal_rcnn import PROPOSALS as HORIZONTAL_PROPOSALS
from geomtp.encoders.presets import PRESETS
from geomtp.recipes.filling import fill, finetune_recipes, recipe_text
from geomtp.training.configs import FineTune
from geomtp.training.optimiser import WARMUP_START, adamw

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "recipes.json").read_text("utf-8"))

RECIPES = {
    "cdd": "cdd", "levir": "levir_cd", "oscd": "oscd", "whu": "whu_cd", "dior": "dior",
    "xview": "xview", "dior-r": "dior_r", "dotav1": "dota_v1", "dotav2": "dota_v2",
    "fair1m20": "fair1m", "eurosat": "eurosat", "resisc45": "resisc45", "loveda": "loveda",
    "spacenetv1": "spacenet_v1",
}  # fmt: skip
"""Our recipe of each of the reference's data sets."""

TASKS = {
    "Change_Detection": "change",
    "Horizontal_Detection": "horizontal",
    "Rotated_Detection": "rotated",
    "Scene_Classification": "scene",
    "Semantic_Segmentation": "semantic",
}


class Difference(NamedTuple):
    """Why ``setting`` is another in the runs whose name matches ``runs``."""

    setting: str
    runs: str
    reason: str


DIFFERENT = (
    Difference(
        "clip_norm",
        r"mmrotate0\.3\.4",
        "these configs were for testing only; 1.x, which trained the weights, does not clip",
    ),
    Difference(
        "warmup_start",
        r"mmrotate0\.3\.4",
        "as clip_norm: 1.x starts at 1e-6 of the learning rate, not at a third",
    ),
    Difference(
        "square_classes",
        r"mmrotate0\.3\.4.*fair1m",
        "numbers of DOTA's classes, copied (quirk 51); 1.x, which trained the weights, has none",
    ),
    Difference(
        "workers",
        r"mmrotate.*(dotav1|dotav2)",
        "8 processes load data for all images of a step, not 4 for those of one GPU",
    ),
)
"""What differs on purpose."""

UNKNOWN = (
    Difference(
        "batch_size",
        r"xview|loveda|1\.x.*fair1m",
        "the number of GPUs is not recorded; 8 are taken",
    ),
    Difference("steps", r"mmrotate0\.3\.4", "no log: the steps of an epoch are those of 1.x"),
    Difference("batch_size", r"mmrotate0\.3\.4.*dotav1", "no log: the GPUs are those of 1.x"),
)
"""What the reference does not tell."""

TRANSFORMS = {
    "LoadImageFromFile": "read", "LoadAnnotations": "read", "MultiImgLoadImageFromFile": "read",
    "MultiImgLoadAnnotations": "read", "ConvertBoxType": "read",
    "PackDetInputs": "read", "PackInputs": "read", "PackSegInputs": "read",
    "MultiImgPackSegInputs": "read", "Collect": "read", "DefaultFormatBundle": "read",
    "Normalize": "compared", "Resize": "compared", "RResize": "compared",
    "RandomResize": "compared", "RandomFlip": "compared", "RRandomFlip": "compared",
    "PhotoMetricDistortion": "compared",
    "Pad": "compared",
    "MultiImgResize": "different: labels of OSCD are enlarged with their images (quirk 43)",
    "RandomCrop": "compared",
    "MultiImgRandomCrop": "different: never drawn anew, which only padding would ask for",
    "RandomResizedCrop": "compared",
    "MultiImgPhotoMetricDistortion": "different: the stronger distortion of pretraining",
    "MultiImgRandomRotFlip": "compared; different: all are mirrored, none turned by a quarter",
    "MultiImgExchangeTime": "compared",
    "RandomRotate": "compared",
    "PolyRandomRotate": "compared",
    "RandAugment": "compared",
    "RandomErasing": "compared",
}  # fmt: skip
"""What becomes of each step of the reference's training pipelines."""

ABOUT = {
    "group", "dataset", "framework", "init", "pretrained_file", "published_score", "logs",
    "iters_per_epoch", "batch_sampler", "val_pipeline", "test_pipeline",
    "evaluator",
}  # fmt: skip
"""Not settings of a training, or of evaluation, which has its own (``geomtp evaluate``)."""


class Run(NamedTuple):
    """One run of the reference and our settings for it."""

    key: str
    theirs: dict[str, Any]
    ours: FineTune

    def excused(self, setting: str, table: tuple[Difference, ...] = (*DIFFERENT, *UNKNOWN)) -> bool:
        return any(d.setting == setting and re.search(d.runs, self.key) for d in table)


@cache
def settings(recipe: str, encoder: str) -> FineTune:
    words = [f"--config={recipe}", "--encoder", encoder, "--weights=w.pth", "--data=d"]
    return fill(FineTune, words, "geomtp finetune")


def run_of(key: str) -> Run:
    own = GOLDEN["recipes"][key]
    merged = {**GOLDEN["groups"][own["group"]], **own}
    return Run(key, merged, settings(RECIPES[merged["dataset"]], merged["backbone"]))


def pipeline(run: Run) -> dict[str, dict[str, Any]]:
    """The parameters of the training transforms by bare name."""
    return {name.removeprefix("mmdet."): p for name, p in run.theirs["train_pipeline"]}


def length(run: Run) -> tuple[int | None, int | None, int, tuple[int, ...]]:
    """Steps of the run, between validations and of warm-up, and where the rate drops."""
    theirs, per_epoch = run.theirs, run.theirs["iters_per_epoch"]
    if "iterations" in theirs["length"]:
        warm = theirs["schedule"][0]["end"]
        return theirs["length"]["iterations"], theirs["length"]["val_interval"], warm, ()
    epochs, between = theirs["length"]["epochs"], theirs["length"].get("val_interval")
    if isinstance(theirs["schedule"], dict):  # 0.3.4
        return None, None, theirs["schedule"]["warmup_iters"], ()
    first, second = theirs["schedule"]
    warm = first["end"] * (per_epoch if first["by_epoch"] else 1)
    drops = tuple(per_epoch * epoch for epoch in second.get("milestones", ()))
    return epochs * per_epoch, between * per_epoch, warm, drops


def turning(run: Run) -> dict[str, Any]:
    """The share of views that are turned, the largest angle, and the classes turned squarely."""
    steps, names = pipeline(run), PUBLIC[run.ours.source].classes.names
    if pair := steps.get("MultiImgRandomRotFlip"):
        assert pair["degree"][0] == -pair["degree"][1]
        return {"turn_share": pair["rotate_prob"], "turn_degrees": pair["degree"][1]}
    turn = steps.get("RandomRotate", steps.get("PolyRandomRotate", {}))
    square = turn.get("rect_obj_labels", turn.get("rect_classes", ()))
    return {
        "turn_share": turn.get("prob", turn.get("rotate_ratio", 0)),
        "turn_degrees": turn.get("angle_range", 180),
        "square_classes": tuple(names[label] for label in square),
    }


def expected(run: Run) -> dict[str, Any]:
    """The reference's settings under the names of ours."""
    theirs, steps = run.theirs, pipeline(run)
    decay = theirs["layer_decay"]
    no_effect = decay["effective"] is False or decay["num_layers"] == 39
    total, between, warm, drops = length(run)
    flip = steps.get("RandomFlip", steps.get("RRandomFlip", {"direction": "horizontal"}))
    all_flips = "MultiImgRandomRotFlip" in steps or isinstance(flip.get("direction"), list)
    old = isinstance(theirs["schedule"], dict)
    return {
        "task": TASKS[theirs["task"]],
        "encoder": theirs["backbone"],
        "source": RECIPES[theirs["dataset"]],
        "image_size": theirs["image_size"],
        "batch_size": theirs["batch_per_gpu"] * (theirs["gpus"]["count"] or 1),
        "learning_rate": theirs["lr"],
        "weight_decay": theirs["weight_decay"],
        "layer_decay": None if no_effect else decay["rate"],
        "drop_path": theirs["drop_path"],
        "activation_checkpointing": theirs["backbone_args"].get(
            "use_checkpoint", theirs["backbone_args"].get("with_cp")
        ),
        "clip_norm": theirs["grad_clip"] and theirs["grad_clip"]["max_norm"],
        "steps": total,
        "warmup_steps": warm,
        "warmup_start": theirs["schedule"]["warmup_ratio"]
        if old
        else theirs["schedule"][0]["start_factor"],
        "workers": theirs["workers_per_gpu"],
        "flip_vertically": all_flips,
        "colours_vary": any(name.endswith("PhotoMetricDistortion") for name in steps),
        # The detectors' copy of the backbone has no global relative positions.
        **(
            {}
            if theirs["backbone_class"] == "InternImage"
            else {"global_rel_pos": theirs["backbone_class"] == "RVSA_MTP"}
        ),
        **turning(run),
        "rand_augment": "RandAugment" in steps,
        "erase_share": steps.get("RandomErasing", {}).get("erase_prob", 0),
        "exchange_dates": steps.get("MultiImgExchangeTime", {}).get("prob") == 0.5,
        "largest_class": steps.get("RandomCrop", {}).get("cat_max_ratio", 1.0),
        "view_area": (0.08, 1.0) if "RandomResizedCrop" in steps else None,  # its default
        **(
            {}  # view_area takes its place
            if "RandomResizedCrop" in steps
            else {"resize_range": tuple(steps.get("RandomResize", {}).get("ratio_range", (1, 1)))}
        ),
        **({} if old else {"drops_at": drops, "validate_every": between}),
    }


@pytest.mark.parametrize("key", GOLDEN["recipes"])
def test_every_setting_is_the_references(key):
    run = run_of(key)
    for setting, value in expected(run).items():
        if not run.excused(setting):
            ours = WARMUP_START if setting == "warmup_start" else getattr(run.ours, setting)
            assert ours == value, setting
    steps = run.ours.devices * run.ours.nodes, run.ours.precision, run.ours.ema_decay
    assert steps == (1, "32", None)
    assert run.ours.mean is run.ours.std is None  # the source's own:
    source, pixels = PUBLIC[run.ours.source], run.theirs["data_preprocessor"]
    assert pixels["mean"][:3] == list(source.mean)
    assert pixels["std"][:3] == list(source.std)
    background = run.ours.task in ("semantic", "change")
    assert len(source.classes) + background == run.theirs["num_classes"]
    known = {*TRANSFORMS, *(f"mmdet.{name}" for name in TRANSFORMS)}
    assert {name for name, _ in run.theirs["train_pipeline"]} <= known
    assert run.theirs["optimizer"] == "AdamW"
    assert run.theirs["betas"] == list(inspect.signature(adamw).parameters["betas"].default)


def test_there_are_95_runs_and_a_recipe_for_each_data_set():
    assert len(GOLDEN["recipes"]) == 95
    assert sorted(RECIPES.values()) == sorted(PUBLIC) == finetune_recipes()


def test_every_key_of_the_runs_is_looked_at():
    compared = {
        "task", "backbone", "image_size", "batch_per_gpu", "gpus", "lr", "weight_decay", "betas",
        "layer_decay", "drop_path", "backbone_args", "grad_clip", "schedule", "length",
        "workers_per_gpu", "train_pipeline", "data_preprocessor", "num_classes", "optimizer",
        "head", "neck", "model_test_cfg", "backbone_class",
    }  # fmt: skip
    for key in GOLDEN["recipes"]:
        assert run_of(key).theirs.keys() <= compared | ABOUT


def test_nothing_is_listed_in_vain():
    runs = [run_of(key) for key in GOLDEN["recipes"]]
    for difference in (*DIFFERENT, *UNKNOWN):
        touched = [run for run in runs if re.search(difference.runs, run.key)]
        assert touched, difference
        for run in touched:
            setting = difference.setting
            ours = WARMUP_START if setting == "warmup_start" else getattr(run.ours, setting)
            assert ours != expected(run)[setting], (run.key, setting)
    used = {name.removeprefix("mmdet.") for run in runs for name, _ in run.theirs["train_pipeline"]}
    assert used == set(TRANSFORMS)


def detector_rules(run: Run) -> tuple[Any, ...]:
    """What our detector keeps of proposals and detections, as the reference writes it."""
    module, kind = {
        "Oriented R-CNN": (oriented_rcnn, "OrientedRCNN"),
        "Faster R-CNN": (faster_rcnn, "FasterRCNN"),
        "RetinaNet": (retinanet, "RetinaNet"),
    }[run.theirs["head"]]
    defaults = inspect.signature(getattr(module, kind)).parameters
    own = [defaults[n].default for n in ("score_threshold", "nms_iou", "max_detections")]
    if kind == "RetinaNet":
        return (defaults["per_level"].default, *own)
    rules = HORIZONTAL_PROPOSALS if kind == "FasterRCNN" else oriented_rcnn.PROPOSALS
    return (rules.per_level_test, rules.nms_iou, rules.per_image, *own)


DETECTION = [key for key in GOLDEN["recipes"] if key.startswith(("Horizontal", "Rotated"))]


@pytest.mark.parametrize("key", DETECTION)
def test_detectors_keep_what_the_references_keep(key):
    run = run_of(key)
    cfg = run.theirs["model_test_cfg"]
    last = cfg.get("rcnn", cfg)
    nms = last["nms"].get("iou_threshold", last["nms"].get("iou_thr"))
    theirs = (last["score_thr"], nms, last["max_per_img"])
    if "rpn" in cfg:
        rpn = cfg["rpn"]
        theirs = (rpn["nms_pre"], rpn["nms"]["iou_threshold"], rpn["max_per_img"], *theirs)
        assert (run.ours.proposals, run.ours.rois, run.ours.anchor_scale) == (None, None, 8.0)
        assert run.ours.fc_channels == 1024
    else:
        theirs = (cfg["nms_pre"], *theirs)
    assert detector_rules(run) == theirs
    assert run.ours.detector_channels == run.theirs["neck"]["out_channels"]
    if run.ours.task == "horizontal":
        assert run.ours.detector == run.theirs["head"].lower().replace(" ", "_").replace("-", "")
    assert run.ours.evaluation_size is None  # fitted into image_size, as the test resizes


@pytest.mark.parametrize("name", ["spacenetv1", "loveda"])
def test_the_windows_of_the_published_figures_are_in_the_recipe(name):
    group = GOLDEN["groups"][f"Semantic_Segmentation/configs/mtp/{name}"]
    cfg = group["model_test_cfg"]
    text = " ".join(recipe_text(RECIPES[name]).replace("#", " ").split())
    assert f"--crop {cfg['crop_size'][0]} --stride {cfg['stride'][0]}" in text
    assert settings(RECIPES[name], "vit_b_rvsa").semantic_channels == 512


def test_encoders_without_words_of_their_own_take_the_recipes_and_flags_win():
    assert settings("dior", "resnet50").drop_path == 0.3
    assert settings("dior", "internimage_xl").layer_decay is None
    words = ["--config=eurosat", "--encoder=internimage_xl", "--learning-rate=1e-3", "--data=d"]
    assert fill(FineTune, words, "x").learning_rate == 1e-3
    assert {"vit_b_rvsa", "vit_l_rvsa", "internimage_xl"} <= set(PRESETS)


def test_recipes_of_encoders_that_are_no_mapping_are_refused(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("task: scene\nencoders: [vit_b_rvsa]\n")
    with pytest.raises(ValueError, match="encoders must map names of encoders"):
        fill(FineTune, [f"--config={path}"], "x")
    path.write_text("task: scene\nencoders: {vit_b_rvsa: {drop_paht: 0.1}}\nencoder: vit_b_rvsa\n")
    with pytest.raises(ValueError, match="unknown field 'drop_paht'; did you mean 'drop_path'"):
        fill(FineTune, [f"--config={path}"], "x")
