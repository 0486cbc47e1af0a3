"""Pictures of predictions beside image and truth, and the maps themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from PIL import Image
from torch import Tensor

from geomtp.training.pictures import save_picture
from geomtp.types import ClassMap, Predictions, Rgb

_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)


@dataclass
class MapFolder:
    """Writes, below ``path`` and in the folders of the images:

    - ``NAME.png``: image, truth and prediction side by side
    - ``NAME_semantic.png``, ``NAME_change.png``: the predicted values (0 background, k+1 for class
      k; 0 unchanged, 1 changed) as a picture with a palette, so that it is in colour for people
      and holds the values for programs
    """

    path: Path
    classes: ClassMap
    _written: set[str] = field(default_factory=set)

    def write(self, image: str, found: Predictions, figure: Image.Image) -> None:
        """Write the files of one image. Images that differ in their suffix alone keep it."""
        stem = str(PurePosixPath(image).with_suffix(""))
        stem = image if stem in self._written else stem
        self._written.add(stem)
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
