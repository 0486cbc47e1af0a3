"""A study of two drawn sources, small enough for tests."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from geomtp.data.scenes import build_chips
from geomtp.study.settings import Ladder, Stage, StudyStages, Transfer
from tests.training.runs import draw_data

TINY = {
    "image_size": 64, "workers": 0, "accelerator": "cpu", "batch_size": 2, "steps": 1,
    "log_every": 1, "semantic_channels": 8, "detector_channels": 8, "fc_channels": 16,
    "proposals": 50, "rois": 32, "warmup_steps": 0,
}  # fmt: skip


def draw(folder: Path) -> Path:
    """Label stores of two drawn sources and of drawn chips."""
    draw_data(folder)
    build_chips(folder / "chips", train=8, val=4, size_px=32)
    return folder


def small_study(data: Path, out: Path, **changes) -> StudyStages:
    """One ladder of two rungs, one task, two seeds, one fraction: five runs."""
    study = StudyStages(
        ladders={"cnn": Ladder("test_resnet", {"nothing": (), "mtp": ("mtp",)})},
        stages={"mtp": Stage("mtp", {"sources": {"harbour": {"tasks": ["semantic"]}}})},
        transfers={"chips": Transfer("scene", settings={"image_size": 32})},
        data=data,
        out=out,
        fractions=(0.5,),
        seeds=(1, 2),
        every_run=TINY,
    )
    return dataclasses.replace(study, **changes)
