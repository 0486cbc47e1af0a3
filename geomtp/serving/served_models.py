"""The models of a server, as the page offers them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from geomtp.inference.windows.window_model import PredictsImages
from geomtp.types import Rgb


@dataclass(frozen=True)
class ServedModel:
    """A model as it speaks of one of its sources.

    - name: by which jobs ask for it
    - checkpoint: its file; source: whose classes it names
    - tasks; classes and palette: of the source, in order
    - mean, std: per band that it needs, in the units of the files it was trained on
    - dates: images of each place, two for change
    """

    name: str
    checkpoint: Path
    source: str
    tasks: tuple[str, ...]
    classes: tuple[str, ...]
    palette: tuple[Rgb, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    dates: int

    @property
    def channels(self) -> int:
        """How many bands it needs."""
        return len(self.mean)


def served_models(checkpoints: Sequence[Path]) -> dict[str, ServedModel]:
    """The models in ``checkpoints`` by name, one for each source; each is opened once to see.

    Raises FileNotFoundError or ValueError for what is no model.
    """
    found = [
        (path, source, model)
        for path in map(Path, checkpoints)
        for model in [_opened(path)]
        for source in (model.config.sources if model.config else {})
    ]
    names = _names([(path, source) for path, source, _ in found])
    models = {}
    for name, (path, source, model) in zip(names, found, strict=True):
        assert model.config is not None
        known = model.config.sources[source]
        tasks = tuple(model.tasks_of(source))
        models[name] = ServedModel(
            name=name,
            checkpoint=path.resolve(),
            source=source,
            tasks=tasks,
            classes=known.classes.names,
            palette=known.classes.palette,
            mean=known.mean,
            std=known.std,
            dates=2 if "change" in tasks else 1,
        )
    return models


def _opened(path: Path) -> PredictsImages:
    if path.suffix == ".onnx":
        from geomtp.inference.graphs.onnx_models import load_onnx

        return load_onnx(path, "cpu")
    from geomtp.model import load

    return load(path)


def _names(of: Sequence[tuple[Path, str]]) -> list[str]:
    """Short names that differ: the folder of a run or the file, the source, a number."""
    plain = {"model", "best", "last"}
    stems = [path.parent.resolve().name if path.stem in plain else path.stem for path, _ in of]
    sources = Counter(path for path, _ in of)
    names = [
        f"{stem}: {source}" if sources[path] > 1 else stem
        for stem, (path, source) in zip(stems, of, strict=True)
    ]
    repeated, used = Counter(names), Counter[str]()
    for index, name in enumerate(names):
        used[name] += 1
        if repeated[name] > 1:
            names[index] = f"{name} ({used[name]})"
    return names
