"""What was left out while reading annotations: counted, with examples, never silently."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

_EXAMPLES_PER_KIND = 3


@dataclass(frozen=True)
class ReadReport:
    """How many images and objects were kept, and what was left out and why; prints as a few lines.

    - images: images in the store; empty_images: those of them without any object
    - objects: (class name, number of objects kept), most frequent first
    - left_out: (reason, number of lines, objects or images left out)
    - examples: sentences naming the first of each reason
    """

    images: int
    empty_images: int
    objects: tuple[tuple[str, int], ...]
    left_out: tuple[tuple[str, int], ...]
    examples: tuple[str, ...]

    def count(self, reason: str) -> int:
        """How many were left out for ``reason`` (0 for a reason that did not occur)."""
        return dict(self.left_out).get(reason, 0)

    def __str__(self) -> str:
        total = sum(number for _, number in self.objects)
        lines = [f"{self.images} images ({self.empty_images} without objects), {total} objects"]
        if self.objects:
            lines.append("  " + ", ".join(f"{name} {number}" for name, number in self.objects))
        if self.left_out:
            counts = ", ".join(f"{reason} {number}" for reason, number in self.left_out)
            lines.append(f"left out: {counts}")
        lines += [f"  {sentence}" for sentence in self.examples]
        return "\n".join(lines)


class ReadNotes:
    """Collects what is left out while annotations are read; ``report`` sums it up.

    With ``strict`` the first malformed entry stops the reading with a ValueError.
    """

    def __init__(self, strict: bool = False) -> None:
        self._strict = strict
        self._left_out: Counter[str] = Counter()
        self._examples: list[str] = []

    def malformed(self, where: str, what: str) -> None:
        """Count an entry that cannot be understood. Raises ValueError when strict."""
        if self._strict:
            raise ValueError(f"{where}: {what}")
        self.left_out("malformed", where, what)

    def left_out(self, reason: str, where: str, what: str) -> None:
        """Count one entry left out for ``reason``; the first few are remembered as sentences."""
        self._left_out[reason] += 1
        if self._left_out[reason] <= _EXAMPLES_PER_KIND:
            self._examples.append(f"{where}: {what}")

    def report(self, images: int, empty_images: int, objects: Counter[str]) -> ReadReport:
        """The counts so far, beside what was kept."""
        return ReadReport(
            images=images,
            empty_images=empty_images,
            objects=tuple(objects.most_common()),
            left_out=tuple(self._left_out.most_common()),
            examples=tuple(self._examples),
        )
