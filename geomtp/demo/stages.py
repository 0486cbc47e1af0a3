"""What the stages of the demo share: its folders, its size, and runs that go on where they were."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from geomtp.data.scenes import EMBEDDED, EmbeddedSource
from geomtp.demo.chapters import Chapter
from geomtp.training.configs import RunSettings
from geomtp.training.run_folder import RunFolder
from geomtp.training.stores import Say
from geomtp.types import SizeHW

Settings = TypeVar("Settings", bound=RunSettings)

SOURCES = tuple(EMBEDDED)


@dataclass(frozen=True)
class DemoSize:
    """How much is drawn and trained.

    - train, val: images of each source
    - mae, mtp, finetune: flags of these stages
    - own_train, own_val: images of the place that is fine-tuned on
    - starts: what is fine-tuned from, by name; see ``finetuning.starts``
    - scene_hw: of the scene that is mapped, in pixels
    """

    train: int
    val: int
    mae: tuple[str, ...]
    mtp: tuple[str, ...]
    finetune: tuple[str, ...]
    own_train: int
    own_val: int
    starts: tuple[str, ...]
    scene_hw: SizeHW


FULL = DemoSize(
    train=120,
    val=32,
    mae=("--steps", "60", "--checkpoint_every", "30"),
    mtp=(
        *("--steps", "180", "--checkpoint_every", "30", "--validation_limit", "24"),
        *("--pictures", "2"),
    ),
    finetune=("--steps", "60"),
    own_train=16,
    own_val=16,
    starts=("from_nothing", "from_imagenet", "from_mtp", "vit_from_nothing", "vit_from_mae"),
    scene_hw=(640, 1024),
)

QUICK = DemoSize(
    train=20,
    val=4,
    mae=("--steps", "12", "--pictures", "2"),
    mtp=("--steps", "80", "--image_size", "128", "--pictures", "1"),
    finetune=("--steps", "32", "--image_size", "128"),
    own_train=8,
    own_val=4,
    starts=("from_nothing", "from_mtp"),
    scene_hw=(512, 512),
)


@dataclass(frozen=True)
class Demo:
    """A demo: its folder, its size, and who is told what happens."""

    out: Path
    size: DemoSize
    say: Say

    def folder(self, stage: str) -> Path:
        """Where the files of a stage lie."""
        return self.out / stage

    @property
    def stores(self) -> Path:
        """The label stores that pretraining reads: masks made of boxes, held-out ones exact."""
        return self.folder("labels") / "stores"

    def source(self, name: str) -> EmbeddedSource:
        """An embedded source in the size of this demo."""
        return dataclasses.replace(EMBEDDED[name], train=self.size.train, val=self.size.val)


@dataclass(frozen=True)
class Stage:
    """One stage: the name of its folder, a title, and what does it."""

    name: str
    title: str
    do: Callable[[Demo], Chapter]


def going_on(config: Settings) -> Settings:
    """``config`` so that the run in its folder goes on, or begins anew where nothing is kept."""
    folder = RunFolder(config.out)
    if folder.last.is_file():
        return dataclasses.replace(config, resume=True)
    for left in (folder.config, folder.metrics):  # of a run that ended before its first checkpoint
        left.unlink(missing_ok=True)
    return config
