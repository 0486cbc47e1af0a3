"""How people lay out their data: folders by split and by kind, files with the same names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from geomtp.data.sources.held_out import held_out
from geomtp.labels.engine.plan import SPLIT_FOLDERS, place_of
from geomtp.labels.read_notes import ReadNotes
from geomtp.labels.readers.image_files import ImageFolder
from geomtp.types import SizeHW

IMAGES = ("images", "image", "imgs", "img")
MASKS = ("masks", "mask", "labels", "label", "gt")
BEFORE = ("before", "a", "t1", "time1")
AFTER = ("after", "b", "t2", "time2")

_SHOWN = 5  # names in a message


def parts_of(root: Path) -> dict[str | None, Path]:
    """The folders train, val and test below ``root`` by split, or ``root`` itself under None.

    Raises FileNotFoundError when there is no such folder; ValueError for a val without train.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is no folder: expected the folder of the data set")
    found: dict[str | None, Path] = {}
    for path in sorted(root.iterdir()):
        split = SPLIT_FOLDERS.get(path.name.lower())
        if split is not None and path.is_dir():
            if split in found:
                raise ValueError(f"{path} and {found[split]} are both {split!r}: keep one of them")
            found[split] = path
    if found and "train" not in found:
        raise ValueError(f"{root} has a folder {next(iter(found))!r} but none named 'train'")
    return found or {None: root}


def child(folder: Path, names: Sequence[str], what: str) -> Path:
    """The folder below ``folder`` that has one of ``names``, whatever its case.

    Raises FileNotFoundError that says what was expected and found.
    """
    folders = sorted(path for path in folder.iterdir() if path.is_dir())
    for name in names:
        for path in folders:
            if path.name.lower() == name:
                return path
    found = ", ".join(path.name for path in folders[:_SHOWN]) or "none"
    raise FileNotFoundError(
        f"{folder} must hold a folder with {what}, named {' or '.join(names)}; "
        f"folders there: {found}"
    )


def matched(first: Path, others: Mapping[str, Path], notes: ReadNotes) -> dict[str, list[str]]:
    """Images of ``first`` and the files of the same name in each of the ``others``.

    By path relative to ``first``; the paths are relative to their own folders. ``others`` are
    folders by what they hold. Raises ValueError naming files without a partner, and files of one
    name that differ in their suffixes.
    """
    stems = _by_stem(first, notes)
    if not stems:
        raise FileNotFoundError(f"{first} holds no image")
    found: dict[str, list[str]] = {name: [] for name in stems.values()}
    for what, path in others.items():
        theirs = _by_stem(path, notes)
        for lonely, here, there in (
            (sorted(set(stems) - set(theirs)), first, path),
            (sorted(set(theirs) - set(stems)), path, first),
        ):
            if lonely:
                shown = ", ".join(lonely[:_SHOWN]) + (", …" if len(lonely) > _SHOWN else "")
                raise ValueError(
                    f"{len(lonely)} files of {here} have no file of the same name in {there} "
                    f"({what}): {shown}"
                )
        for stem, name in stems.items():
            found[name].append(theirs[stem])
    return found


def _by_stem(folder: Path, notes: ReadNotes) -> dict[str, str]:
    """The pictures of a folder by their names without suffix. Raises ValueError for equal ones."""
    names: dict[str, str] = {}
    for name in ImageFolder(folder, notes).names():
        stem = name.rpartition(".")[0]
        if stem in names:
            raise ValueError(
                f"{folder} holds several files for {stem}: {names[stem]}, {name}; keep one of them"
            )
        names[stem] = name
    return names


def same_size(paths: Sequence[Path], sizes_hw: Sequence[SizeHW | None]) -> SizeHW | None:
    """The size of files that belong together; None where one of them is damaged.

    Raises ValueError when they differ.
    """
    if None in sizes_hw:
        return None
    if len(set(sizes_hw)) > 1:
        sizes = ", ".join(
            f"{path} is {size[1]} × {size[0]}"
            for path, size in zip(paths, sizes_hw, strict=True)
            if size
        )
        raise ValueError(f"files that belong together must have one size (width × height): {sizes}")
    return sizes_hw[0]


def splitter(
    parts: Mapping[str | None, Iterable[str]], val_share: float, group_of: Callable[[str], str]
) -> Callable[[str], str]:
    """The split of each image: that of its folder, or by hash where no folder says it.

    By hash a share of each group is held out; tiles NAME__… of an image stay together. Where there
    are folders but only that of training, a share of it is held out, too.
    """
    known = {image: split for split, images in parts.items() if split for image in images}
    if set(known.values()) - {"train"}:
        return known.__getitem__
    groups: dict[str, list[str]] = {}
    for images in parts.values():
        for image in images:
            groups.setdefault(group_of(image), []).append(image)
    validation: set[str] = set()
    for images in groups.values():
        if len(places := {place_of(image) for image in images}) > 1:
            held = held_out(places, val_share)
            validation |= {image for image in images if place_of(image) in held}
    return lambda image: "val" if image in validation else "train"
