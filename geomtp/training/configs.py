"""What each kind of run needs, as typed dataclasses. Recipes and flags fill them.

Nothing heavy is imported here: the command line reads these classes to answer ``--help``.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

CutRboxes = Literal["whole", "upright"]
Task = Literal["semantic", "instance", "rotated", "horizontal", "scene", "change"]
ALL_TASKS: tuple[Task, ...] = get_args(Task)
PRETRAINING_TASKS: tuple[Task, ...] = ("semantic", "instance", "rotated")
ONLY_FOR: dict[str, Task] = {
    "detector": "horizontal",
    "largest_class": "semantic",
    "cut_rboxes": "rotated",
    "exchange_dates": "change",
}
"""Settings of fine-tuning that one task alone has a use for."""
_WIDTHS = ("semantic_channels", "detector_channels", "fc_channels")


def check_std(std: tuple[float, ...] | None) -> None:
    """Raise ValueError for a deviation by which nothing can be divided."""
    if std is not None and min(std) <= 0:
        raise ValueError(f"std divides: every value must be above 0, found {std}")


@dataclass(frozen=True)
class SourceRun:
    """How one source takes part in a run.

    Args:
        tasks: the tasks it trains; by default all of the run.
        weight: its share of a step's images where mixing is "weights".
        least_score: instances that their segmenter scored lower are not trained on.
        without_flags: nor are those with any of these flags (see docs/labels.md).
        cut_rboxes: what becomes of a rotated box that a training view cuts: it stays whole, as in
            the reference, or becomes the upright box round what is seen of it. Should be the rule
            by which objects at the borders of the images were labelled.
    """

    tasks: tuple[Task, ...] | None = None
    weight: float = 1.0
    least_score: float = 0.0
    without_flags: tuple[str, ...] = ()
    cut_rboxes: CutRboxes = "whole"


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What every training run needs to know of its folder, its loop and its machines.

    Args:
        out: folder of the run.
        activation_checkpointing: compute each block again in the backward pass, to save memory.
        weight_decay: of AdamW.
        clip_norm: largest norm of all gradients together; null: they are not clipped.
        precision: "32", or "bf16" for mixed precision.
        seed: of all that is drawn at random.
        workers: processes that load data.
        devices: devices (or processes) per node.
        nodes: machines.
        accelerator: what to compute on.
        checkpoint_every: steps between checkpoints to resume from.
        log_every: steps between two rows of the log.
        skip_bad: leave out images that cannot be read, instead of stopping.
        resume: go on from the last checkpoint in out.
    """

    out: Path = Path("runs/training")
    activation_checkpointing: bool = False
    weight_decay: float = 0.05
    clip_norm: float | None = 5.0
    precision: Literal["32", "bf16"] = "32"
    seed: int = 2023
    workers: int = 2
    devices: int = 1
    nodes: int = 1
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    checkpoint_every: int = 5_000
    log_every: int = 10
    skip_bad: bool = False
    resume: bool = False

    def __post_init__(self) -> None:
        self._check_least(1, "devices", "nodes", "log_every")
        self._check_least(0, "workers", "seed", "checkpoint_every", "weight_decay", "clip_norm")

    def _check_least(self, least: int, *names: str) -> None:
        """Raise ValueError for one of these settings that is given and less than ``least``."""
        for name in names:
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, found {value}")


@dataclass(frozen=True, kw_only=True)
class Training(RunSettings):
    """What every training of a model with decoders needs; each kind of run adds its own.

    Args:
        data: folder of the data.
        encoder: name of the encoder.
        weights: what the encoder starts from: a file, "imagenet" where a package carries such
            weights, or nothing (random).
        image_size: side of the training views, in pixels.
        in_channels: channels of the images; by default as many as the label stores say.
        mean: per channel, subtracted from the images; by default each source's own.
        std: per channel, what the images are divided by; by default each source's own.
        drop_path: probability of skipping a branch of the last block; linear over the blocks.
        semantic_channels: width of the semantic decoder.
        change_channels: widths of the four blocks of the change decoder, the coarsest first.
        detector_channels: width of the feature pyramids of the two detectors.
        fc_channels: width of the fully connected layers of the two detectors.
        proposals: proposals of an image, per level and in all; by default as the reference.
        rois: regions of an image that a step trains on; by default as the reference (512).
        anchor_scale: side of the smallest anchors of the two detectors, in cells of 4 px; objects
            much smaller than that (32 px at 8) are hardly proposed.
        rotated_looks: how often the rotated detector corrects a box when predicting; a second look
            helps where training is short and proposals are coarse.
        batch_size: images per step and process, over all sources.
        resize_range: zoom of the training views is drawn from this range.
        resize_relative_to: whether zoom 1 fits the image into the view ("crop") or keeps its
            pixels ("image").
        photometric: whether brightness, contrast, saturation and hue vary; by default in all tasks
            but scene, where colour tells a good deal.
        flip_vertically: whether views are mirrored top to bottom, too, not only left to right.
        evaluation_size: side that images are fitted into for validation; by default their own size.
        steps: optimiser steps.
        learning_rate: at its peak.
        layer_decay: factor of the learning rate from one encoder layer to the one before.
        warmup_steps: steps of linear warm-up before the cosine.
        drops_at: steps at which the learning rate falls to a tenth, in place of the cosine.
        loss_weights: factor of a loss by "task", "task/loss" or "task/loss/source".
        ema_decay: keep a moving average of the weights, and validate and export it.
        batch_norm: "train" uses and updates batch statistics; "frozen_encoder" keeps the running
            statistics in the encoder as they are; "frozen" everywhere.
        statistics_batches: after the last step, measure the running statistics of batch norms
            anew on so many batches of training views; 0 keeps those of the training. It pays after
            short trainings and with small batches.
        freeze_encoder: train the decoders alone, on an encoder as it is in use.
        validate_every: steps between validations; 0 validates only at the end.
        validate_first: validate before the first step too, to see what was learned.
        validation_limit: most images per source that a validation looks at.
        validation_split: which images a validation looks at.
        pictures: images per source drawn beside the truth after each validation.
        strict: stop at the first malformed annotation, instead of leaving it out.
    """

    data: Path | None = None
    encoder: str = "vit_b_rvsa"
    weights: str | None = None
    image_size: int = 448
    in_channels: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    drop_path: float = 0.1
    semantic_channels: int = 256
    change_channels: tuple[int, ...] = (512, 256, 128, 64)
    detector_channels: int = 256
    fc_channels: int = 1024
    proposals: int | None = None
    rois: int | None = None
    anchor_scale: float = 8.0
    rotated_looks: int = 1
    batch_size: int = 3
    resize_range: tuple[float, float] = (0.5, 2.0)
    resize_relative_to: Literal["crop", "image"] = "crop"
    photometric: bool | None = None
    flip_vertically: bool = True
    evaluation_size: int | None = None
    steps: int = 80_000
    learning_rate: float = 6e-5
    layer_decay: float | None = None
    warmup_steps: int = 0
    drops_at: tuple[int, ...] = ()
    loss_weights: dict[str, float] = field(default_factory=dict)
    ema_decay: float | None = None
    batch_norm: Literal["train", "frozen_encoder", "frozen"] = "train"
    statistics_batches: int = 0
    freeze_encoder: bool = False
    validate_every: int = 0
    validate_first: bool = False
    validation_limit: int | None = None
    validation_split: Literal["train", "val", "test"] = "val"
    pictures: int = 4
    strict: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_least(32, "image_size")
        self._check_least(1, "steps", "batch_size", "in_channels", "evaluation_size", *_WIDTHS)
        self._check_least(1, "proposals", "rois", "rotated_looks", "validation_limit")
        self._check_least(0, "learning_rate", "layer_decay", "warmup_steps", "statistics_batches")
        self._check_least(0, "validate_every", "pictures", "drop_path", "ema_decay")
        for name in ("drop_path", "ema_decay"):
            if (getattr(self, name) or 0) > 1:
                raise ValueError(f"{name} must lie in 0…1, found {getattr(self, name)}")
        check_std(self.std)
        for name in ("mean", "std"):
            values = getattr(self, name)
            if None not in (values, self.in_channels) and len(values) != self.in_channels:
                raise ValueError(
                    f"{name} needs a value per channel: {self.in_channels}, found {len(values)}"
                )
        low, high = self.resize_range
        if not 0 < low <= high:
            raise ValueError(f"resize_range must rise from above 0, found {low}…{high}")
        if list(self.drops_at) != sorted(set(self.drops_at)) or min(self.drops_at, default=1) < 1:
            raise ValueError(f"drops_at must be rising steps above 0, found {self.drops_at}")
        if unknown := {name.split("/")[0] for name in self.loss_weights} - set(ALL_TASKS):
            raise ValueError(f"loss_weights name tasks; {', '.join(sorted(unknown))} is none")

    @property
    def colours_vary(self) -> bool:
        """What ``photometric`` says, or what is meant where it says nothing."""
        return self.photometric is not False


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
        reference_initialisation: start the detectors' feature pyramids six times as large.
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
    reference_initialisation: bool = False
    reference_label_padding: bool = False
    reference_photometric: bool = False
    reference_filtering: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sources:
            raise ValueError("sources: at least one is needed, found none")
        if not self.tasks:
            raise ValueError("tasks: at least one is needed, found none")
        for name, source in self.sources.items():
            if not self.tasks_of(name):
                raise ValueError(
                    f"{name} trains none of the run's tasks ({', '.join(self.tasks)}), only "
                    f"{', '.join(source.tasks or ())}: leave it out of sources, or add to tasks"
                )
        self._check_least(1, "conflict_batches")
        self._check_least(0, "conflicts_every")

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
            before, after and masks (change); images with COCO json, DOTA or YOLO txt.
        detector: of horizontal boxes, in two stages or in one.
        source: name of a known data set, whose layout DATA has; by default it is recognised.
        classes: names in order: of the class folders, of the mask values from 1, or of the
            objects; by default as found. Of a label store or a known data set: the classes that
            are learned, the others being background.
        val_share: how much is held out where no folders named train and val say it.
        image_size: side of the training views, in pixels. Images are fitted into it for validation,
            too, unless resize_relative_to is "image" or evaluation_size says otherwise.
        global_rel_pos: whether global attention of ViT + RVSA knows relative positions; the
            reference's detectors do without.
        train_splits: the splits that are trained on; several, to train on all that is labelled
            as for a test server (a validation on one of them is then optimistic).
        objects_only: train on images with objects only, as the reference's detectors do; images
            without teach what is none.
        view_area: share of an image's area that a view shows, drawn from this range, at ratios of
            3/4…4/3, in place of resize_range.
        largest_class: crops of semantic maps are drawn anew while one class fills this share.
        turn_share: share of the views that are turned, by up to turn_degrees (not for upright
            boxes).
        turn_degrees: the largest angle.
        square_classes: views with objects of these are turned by right angles only.
        cut_rboxes: what becomes of a rotated box that a training view cuts: it stays whole, as in
            the reference, or becomes the upright box round what is seen of it.
        rand_augment: change 8-bit pictures by two of the ways of RandAugment (for scene).
        erase_share: share of 8-bit pictures in which a rectangle becomes noise (for scene).
        exchange_dates: whether half of the pairs are seen in the other order.
        match_light: whether values of the second date are brought to the mean and standard
            deviation of the first, as measured on the training pairs (for change); by default
            unless dates are exchanged.
        train_fraction: share of the training images that is used; smaller shares lie within larger.
        train_limit: most training images that are used.
        probe: train nothing; score nearest neighbours and the best linear layer on the features of
            the encoder as it is (for scene).
        neighbours: how many vote in a probe.
        lora_rank: train corrections of this rank to the linear layers of the encoder (where it has
            none, to its convolutions of one pixel), and none of its own weights (needs peft); 0
            trains them all. Written models are as any other.
        reuse_decoder: take the decoder of --weights too, which must be a whole model of ours; a
            detector takes that of another task where the file holds none of its own.
    """

    task: Task
    source: str | None = None
    classes: tuple[str, ...] | None = None
    val_share: float = 0.2
    global_rel_pos: bool = True
    train_splits: tuple[Literal["train", "val", "test"], ...] = ("train",)
    objects_only: bool = False
    view_area: tuple[float, float] | None = None
    largest_class: float = 1.0
    turn_share: float = 0.0
    turn_degrees: float = 180.0
    square_classes: tuple[str, ...] = ()
    cut_rboxes: CutRboxes = "whole"
    rand_augment: bool = False
    erase_share: float = 0.0
    exchange_dates: bool = False
    match_light: bool | None = None
    train_fraction: float = 1.0
    train_limit: int | None = None
    detector: Literal["faster_rcnn", "retinanet"] = "faster_rcnn"
    probe: bool = False
    neighbours: int = 20
    lora_rank: int = 0
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
        if (self.rand_augment or self.erase_share) and self.task != "scene":
            raise ValueError("rand_augment and erase_share move pixels without labels: for scene")
        if not 0 <= self.erase_share <= 1:
            raise ValueError(f"erase_share must lie in 0…1, found {self.erase_share}")
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        for name, task in ONLY_FOR.items():
            if self.task != task and getattr(self, name) != defaults[name]:
                raise ValueError(f"{name} is for {task!r}, and the task is {self.task!r}")
        if self.match_light and (self.exchange_dates or self.task != "change"):
            raise ValueError(
                "match_light tells the second date from the first: for change, without "
                "exchange_dates"
            )
        if self.turn_share and self.task in ("instance", "horizontal"):
            raise ValueError(f"turn_share: the upright boxes of {self.task!r} cannot be turned")
        if self.objects_only and self.task not in ("instance", "rotated", "horizontal"):
            raise ValueError(f"objects_only: {self.task!r} is learned without objects")
        if self.probe:
            self._check_probe()
        if self.lora_rank < 0 or (self.lora_rank and (self.freeze_encoder or self.probe)):
            raise ValueError(
                f"lora_rank must be at least 0, without freeze_encoder or probe, which train no "
                f"encoder; found {self.lora_rank}"
            )
        if self.reuse_decoder and not self.weights:
            raise ValueError("reuse_decoder takes the decoder from --weights, which names no file")

    @property
    def colours_vary(self) -> bool:
        """What ``photometric`` says, or what is meant where it says nothing."""
        return self.task != "scene" if self.photometric is None else self.photometric

    def _check_probe(self) -> None:
        if self.task != "scene":
            raise ValueError(
                f"a probe tells scenes apart: its task is 'scene', found {self.task!r}"
            )
        if self.resume or self.devices * self.nodes > 1:
            raise ValueError("a probe runs at once on one device: leave out resume, devices, nodes")
        if self.neighbours < 1:
            raise ValueError(f"neighbours must be at least 1, found {self.neighbours}")
