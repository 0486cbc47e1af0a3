"""What an exported graph is, written into its file as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from geomtp.model import SIZE_DIVISOR
from geomtp.types import ALL_TASKS, ClassMap, SizeHW

ENTRY = "geomtp"
"""Entry of the metadata of an ONNX file that holds the facts."""

FORMAT = 1

LEAST_SIDE_PX = 64
"""Of images of a graph that takes any size: two cells of the coarsest level."""

RAW_TASKS = ("instance", "rotated", "horizontal")
"""Tasks of detectors: a graph gives what their networks say, not the boxes made of it."""


@dataclass(frozen=True)
class GraphFacts:
    """All that is needed to feed a graph and to understand what it says.

    - encoder: its name
    - image_size_hw: of the images that the graph takes; with ``any_size`` their sides may be any
      multiples of 32 px from 64 px on, and this is what the model was made for
    - in_channels: of the images; mean and std: per channel, in the units of the image files; None
      where the file that was exported knew none
    - normalises: the graph takes pixels as they lie in files; otherwise (pixels − mean) / std
    - source, tasks, classes: whose classes, what is said; of an encoder none
    - padding_after: normalised, per channel, what images of the second date are padded with; None
      for 0, as those of the first
    - outputs: what each output of the graph holds, by name, in words

    Raises ValueError for facts that contradict each other.
    """

    encoder: str
    image_size_hw: SizeHW
    any_size: bool
    in_channels: int
    normalises: bool
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    source: str | None = None
    tasks: tuple[str, ...] = ()
    classes: ClassMap | None = None
    padding_after: tuple[float, ...] | None = None
    outputs: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if unknown := [task for task in self.tasks if task not in ALL_TASKS]:
            raise ValueError(f"no such tasks: {', '.join(unknown)}")
        if self.tasks and (self.source is None or self.classes is None):
            raise ValueError("a graph with tasks has a source and classes")
        if min(*self.image_size_hw, self.in_channels) < 1:
            raise ValueError("sides and channels are counted from 1")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if (self.normalises and values is None) or len(values or ()) not in {
                0,
                self.in_channels,
            }:
                raise ValueError(f"{name} must hold {self.in_channels} numbers, found {values}")

    def __str__(self) -> str:
        height, width = self.image_size_hw
        sizes = f"{width} × {height} px"
        if self.any_size:
            sizes = f"any multiples of {SIZE_DIVISOR} px from {LEAST_SIDE_PX} px on"
        pixels = "as they lie in files" if self.normalises else "normalised"
        who = f"{', '.join(self.tasks)} of {self.source}" if self.tasks else "features"
        lines = [
            f"{who} by {self.encoder}",
            f"takes images of {self.in_channels} channels, {sizes}, {pixels}",
            *(f"gives {name}: {words}" for name, words in self.outputs.items()),
        ]
        return "\n  ".join(lines)

    @property
    def raw_tasks(self) -> list[str]:
        """The tasks of which the graph gives raw outputs, no predictions."""
        return [task for task in self.tasks if task in RAW_TASKS]

    def size_for(self, size_hw: SizeHW) -> SizeHW:
        """The size that images of ``size_hw`` are padded to. Raises ValueError if they are larger
        than the one size that the graph takes.
        """
        if self.any_size:
            height, width = (
                max(LEAST_SIDE_PX, -(-side // SIZE_DIVISOR) * SIZE_DIVISOR) for side in size_hw
            )
            return height, width
        if size_hw[0] > self.image_size_hw[0] or size_hw[1] > self.image_size_hw[1]:
            height, width = self.image_size_hw
            raise ValueError(
                f"the graph takes images of {width} × {height} px alone, found "
                f"{size_hw[1]} × {size_hw[0]}: use windows of that size, or export another"
            )
        return self.image_size_hw

    def to_json(self) -> str:
        """As text."""
        values = {"format": FORMAT, **dataclasses.asdict(self)}
        return json.dumps(values, ensure_ascii=False)

    @staticmethod
    def from_json(text: str) -> GraphFacts:
        """The inverse of ``to_json``. Raises ValueError for text that is none of ours."""
        try:
            values = json.loads(text)
            if values.pop("format") != FORMAT:
                raise ValueError("written by another version of geomtp")
            return GraphFacts(**_typed(values))
        except (KeyError, TypeError, AttributeError, RecursionError, ValueError) as error:
            raise ValueError(f"its description is not geomtp's ({error})") from None


def _typed(values: dict[str, Any]) -> dict[str, Any]:
    """JSON's values as those of the dataclass. Raises TypeError or KeyError for others."""
    height, width = values["image_size_hw"]
    classes = values["classes"]
    numbers = {name: values[name] for name in ("mean", "std")}
    numbers["padding_after"] = values.get("padding_after")  # files from before have none
    return {
        **values,
        "encoder": str(values["encoder"]),
        "image_size_hw": (int(height), int(width)),
        "any_size": values["any_size"] is True,
        "in_channels": int(values["in_channels"]),
        "normalises": values["normalises"] is True,
        **{n: None if v is None else tuple(float(x) for x in v) for n, v in numbers.items()},
        "source": None if values["source"] is None else str(values["source"]),
        "tasks": tuple(str(task) for task in values["tasks"]),
        "classes": None
        if classes is None
        else ClassMap(
            tuple(str(name) for name in classes["names"]),
            tuple((int(r), int(g), int(b)) for r, g, b in classes["palette"]),
        ),
        "outputs": {str(name): str(words) for name, words in values["outputs"].items()},
    }
