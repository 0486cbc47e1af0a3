"""What each kind of run needs, as typed dataclasses. Recipes and flags fill them.

Nothing heavy is imported here: the command line reads these classes to answer ``--help``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Task = Literal["semantic", "instance", "rotated", "scene", "change"]
ALL_TASKS: tuple[Task, ...] = ("semantic", "instance", "rotated", "scene", "change")
PRETRAINING_TASKS: tuple[Task, ...] = ("semantic", "instance", "rotated")


@dataclass(frozen=True)
class SourceRun:
    """How one source takes part in a run.

    Args:
        tasks: the tasks it trains; by default all of the run.
        weight: its share of a step's images where mixing is "weights".
        least_score: instances that their segmenter scored lower are not trained on.
        without_flags: nor are those with any of these flags (see docs/labels.md).
    """

    tasks: tuple[Task, ...] | None = None
    weight: float = 1.0
    least_score: float = 0.0
    without_flags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Training:
    """What every training of a model with decoders needs; each kind of run adds its own.

    Args:
        data: folder of the data.
        out: folder of the run.
        encoder: name of the encoder.
        weights: what the encoder starts from: a file, "imagenet" where a package carries such
            weights, or nothing (random).
        image_size: side of the training views, in pixels.
        in_channels: channels of the images; by default as many as the label stores say.
        mean: per channel, subtracted from the images; by default each source's own.
        std: per channel, what the images are divided by; by default each source's own.
        drop_path: probability of skipping a branch of the last block; linear over the blocks.
        activation_checkpointing: compute each block again in the backward pass, to save memory.
        semantic_channels: width of the semantic decoder.
        detector_channels: width of the feature pyramids of the two detectors.
        fc_channels: width of the fully connected layers of the two detectors.
        proposals: proposals of an image, per level and in all; by default as the reference.
        rois: regions of an image that a step trains on; by default as the reference (512).
        anchor_scale: side of the smallest anchors of the two detectors, in cells of 4 px; objects
            much smaller than that (32 px at 8) are hardly proposed.
        batch_size: images per step and process, over all sources.
        resize_range: zoom of the training views is drawn from this range.
        resize_relative_to: whether zoom 1 fits the image into the view ("crop") or keeps its
            pixels ("image").
        photometric: whether brightness, contrast, saturation and hue vary.
        evaluation_size: side that images are fitted into for validation; by default their own size.
        steps: optimiser steps.
        learning_rate: at its peak.
        weight_decay: of AdamW.
        layer_decay: factor of the learning rate from one encoder layer to the one before.
        warmup_steps: steps of linear warm-up before the cosine.
        clip_norm: largest norm of all gradients together.
        loss_weights: factor of a loss by "task", "task/loss" or "task/loss/source".
        ema_decay: keep a moving average of the weights, and validate and export it.
        batch_norm: "train" uses and updates batch statistics; "frozen_encoder" keeps the running
            statistics in the encoder as they are; "frozen" everywhere.
        freeze_encoder: train the decoders alone, on an encoder as it is in use.
        precision: "32", or "bf16" for mixed precision.
        seed: of weights, order, views and sampling.
        workers: processes that load data.
        devices: devices (or processes) per node.
        nodes: machines.
        accelerator: what to compute on.
        validate_every: steps between validations; 0 validates only at the end.
        validate_first: validate before the first step too, to see what was learned.
        validation_limit: most images per source that a validation looks at.
        validation_split: which images a validation looks at.
        checkpoint_every: steps between checkpoints to resume from.
        log_every: steps between two rows of the log.
        pictures: images per source drawn beside the truth after each validation.
        skip_bad: leave out images that cannot be read, instead of stopping.
        strict: stop at the first malformed annotation, instead of leaving it out.
        resume: go on from the last checkpoint in out.
    """

    data: Path | None = None
    out: Path = Path("runs/training")
    encoder: str = "vit_b_rvsa"
    weights: str | None = None
    image_size: int = 448
    in_channels: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    drop_path: float = 0.1
    activation_checkpointing: bool = False
    semantic_channels: int = 256
    detector_channels: int = 256
    fc_channels: int = 1024
    proposals: int | None = None
    rois: int | None = None
    anchor_scale: float = 8.0
    batch_size: int = 3
    resize_range: tuple[float, float] = (0.5, 2.0)
    resize_relative_to: Literal["crop", "image"] = "crop"
    photometric: bool = True
    evaluation_size: int | None = None
    steps: int = 80_000
    learning_rate: float = 6e-5
    weight_decay: float = 0.05
    layer_decay: float | None = None
    warmup_steps: int = 0
    clip_norm: float = 5.0
    loss_weights: dict[str, float] = field(default_factory=dict)
    ema_decay: float | None = None
    batch_norm: Literal["train", "frozen_encoder", "frozen"] = "train"
    freeze_encoder: bool = False
    precision: Literal["32", "bf16"] = "32"
    seed: int = 2023
    workers: int = 2
    devices: int = 1
    nodes: int = 1
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    validate_every: int = 0
    validate_first: bool = False
    validation_limit: int | None = None
    validation_split: Literal["train", "val", "test"] = "val"
    checkpoint_every: int = 5_000
    log_every: int = 10
    pictures: int = 4
    skip_bad: bool = False
    strict: bool = False
    resume: bool = False

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("batch_size", 1), ("image_size", 32), ("log_every", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, found {getattr(self, name)}")
        for name in ("mean", "std"):
            values = getattr(self, name)
            if None not in (values, self.in_channels) and len(values) != self.in_channels:
                raise ValueError(
                    f"{name} needs a value per channel: {self.in_channels}, found {len(values)}"
                )
        low, high = self.resize_range
        if not 0 < low <= high:
            raise ValueError(f"resize_range must rise from above 0, found {low}…{high}")
        if unknown := {name.split("/")[0] for name in self.loss_weights} - set(ALL_TASKS):
            raise ValueError(f"loss_weights name tasks; {', '.join(sorted(unknown))} is none")


@dataclass(frozen=True, kw_only=True)
class PretrainMTP(Training):
    """Multi-task pretraining: one encoder, a decoder per task, any number of sources.

    Args:
        sources: the labelled sources by name: a known one, or a folder of DATA with a label store.
        data: folder that holds a folder per source; embedded sources need none.
        tasks: the tasks to train.
        mixing: how the sources share a batch: equally, by their sizes, or by their weights.
        balance: whether losses are added as they are ("sum") or by weights that are learned for
            each task of each source ("uncertainty").
        conflicts_every: steps between measurements of how far the gradients of tasks and sources
            agree on the encoder; 0 for none.
        conflict_batches: steps' worth of training images that one measurement looks at.
        reference_box_targets: train instance boxes towards 1, as the reference does (quirk 16).
        reference_statistics: one set of running statistics of batch norms for all sources.
        reference_label_padding: squeeze logits onto smaller label maps (quirk 17).
        reference_photometric: distort colours as the reference does (quirk 18).
        reference_filtering: filter boxes and rotated boxes apart (quirk 19).
    """

    sources: dict[str, SourceRun]
    data: Path | None = None
    out: Path = Path("runs/mtp")
    tasks: tuple[Task, ...] = PRETRAINING_TASKS
    mixing: Literal["avg", "ratio", "weights"] = "avg"
    balance: Literal["sum", "uncertainty"] = "sum"
    conflicts_every: int = 0
    conflict_batches: int = 8
    reference_box_targets: bool = False
    reference_statistics: bool = False
    reference_label_padding: bool = False
    reference_photometric: bool = False
    reference_filtering: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sources:
            raise ValueError("sources: at least one is needed, found none")
        if self.conflict_batches < 1:
            raise ValueError(f"conflict_batches must be at least 1, found {self.conflict_batches}")

    def tasks_of(self, source: str) -> tuple[Task, ...]:
        """The tasks that ``source`` trains in this run."""
        chosen = self.sources[source].tasks
        return self.tasks if chosen is None else tuple(t for t in self.tasks if t in chosen)


@dataclass(frozen=True, kw_only=True)
class FineTune(Training):
    """Fine-tuning on one task of one data set, which may be your own folder.

    Args:
        task: what is learned.
        data: the data set: a label store; class folders (scene); images and masks (semantic);
            before, after and masks (change); images with COCO json or DOTA txt.
        source: name of a known data set, whose layout DATA has; by default it is recognised.
        classes: names in order: of the class folders, of the mask values from 1, or of the
            objects; by default as found.
        val_share: how much is held out where no folders named train and val say it.
        image_size: side of the training views, in pixels. Images are fitted into it for validation,
            too, unless resize_relative_to is "image" or evaluation_size says otherwise.
        train_fraction: share of the training images that is used; smaller shares lie within larger.
        train_limit: most training images that are used.
        reuse_decoder: take the decoder of --weights too, which must be a whole model of ours.
    """

    task: Task
    source: str | None = None
    classes: tuple[str, ...] | None = None
    val_share: float = 0.2
    train_fraction: float = 1.0
    train_limit: int | None = None
    reuse_decoder: bool = False
    out: Path = Path("runs/finetune")
    image_size: int = 224
    batch_size: int = 16
    resize_range: tuple[float, float] = (0.75, 1.5)
    steps: int = 1000
    learning_rate: float = 1e-4
    layer_decay: float | None = 0.9
    warmup_steps: int = 50

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.train_fraction <= 1:
            raise ValueError(f"train_fraction must lie in 0…1, found {self.train_fraction}")
        if not 0 < self.val_share < 1:
            raise ValueError(f"val_share must lie between 0 and 1, found {self.val_share}")
        if self.train_limit is not None and self.train_limit < 1:
            raise ValueError(f"train_limit must be at least 1, found {self.train_limit}")
        if self.reuse_decoder and not self.weights:
            raise ValueError("reuse_decoder takes the decoder from --weights, which names no file")
