"""Pictures of predictions beside image and truth, and the maps themselves."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from PIL import Image
from torch import Tensor

from geomtp.training.pictures import save_picture
from geomtp.types import ClassMap, Predictions, Rgb

_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)


class MapFolder:
    """Writes, below ``path`` and in the folders of the images:

    - ``NAME.png``: image, truth and prediction side by side
    - ``NAME_semantic.png``, ``NAME_change.png``: the predicted values (0 background, k+1 for class
      k; 0 unchanged, 1 changed) as a picture with a palette, so that it is in colour for people
      and holds the values for programs
    """

    def __init__(self, path: Path, classes: ClassMap, images: Iterable[str]) -> None:
        """``images``: all of them. Of those that differ by suffix alone the first loses it."""
        self.path, self.classes = path, classes
        self._stems: dict[str, str] = {}
        taken: set[str] = set()
        for image in images:
            stem = str(PurePosixPath(image).with_suffix(""))
            self._stems[image] = image if stem in taken else stem
            taken.add(stem)

    def write(self, image: str, found: Predictions, figure: Image.Image) -> None:
        """Write the files of one image."""
        stem = self._stems[image]
        save_picture(figure, self.path / f"{stem}.png")
        if found.semantic_logits is not None:
            colours = (_BLACK, *self.classes.palette)
            save_picture(coloured(found.semantic, colours), self.path / f"{stem}_semantic.png")
        if found.change_logits is not None:
            picture = coloured(found.change, (_BLACK, _WHITE))
            save_picture(picture, self.path / f"{stem}_change.png")


def coloured(values: Tensor, colours: tuple[Rgb, ...]) -> Image.Image:
    """A map (H, W) uint8 as a picture with a palette: its pixels are the values."""
    picture = Image.fromarray(values.cpu().numpy(), mode="L")
    picture.putpalette([part for colour in colours for part in colour])
    return picture
