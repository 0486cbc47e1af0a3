"""``geomtp labels``, ``labels export`` and ``labels report``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from geomtp.commands.words import names, numbers

LABEL_FORMATS = "coco, dior, dota, fair1m, geojson, geopackage, samrs, voc, xview, yolo_obb"
LABEL_SEGMENTERS = "sam, grabcut, polygon, box"
EXPORT_FORMATS = "coco, dota, samrs, semantic"


def labels(words: Sequence[str]) -> int:
    """Multi-task labels (instances, rotated boxes, semantic maps) from boxes on images."""
    if words and words[0] in LABEL_VERBS:
        return LABEL_VERBS[words[0]](words[1:])
    chosen = _labels_parser().parse_args(words)
    settings = vars(chosen)
    from pathlib import Path

    for name in ("images", "annotations", "out", "weights", "class_map"):
        settings[name] = settings[name] and Path(settings[name])
    from geomtp.labels.engine.engine import generate
    from geomtp.labels.engine.generate_config import GenerateLabels

    config = GenerateLabels(**settings)
    result = generate(config)
    if result.report is not None:
        print(result.report)
    if result.store is not None:
        print(f"store: {config.out}")
    for image, reason in result.bad:
        print(f"could not be read: {image}: {reason}", file=sys.stderr)
    if result.bad and not config.skip_bad:
        print(
            f"geomtp: images that could not be read and are not in the store: {len(result.bad)}; "
            f"mend them and run the command again, or leave them out with --skip-bad",
            file=sys.stderr,
        )
        return 1
    return 0


def _labels_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="geomtp labels",
        description=labels.__doc__,
        epilog="example: geomtp labels DATA/images DATA/labelTxt --format dota --segmenter sam "
        "--weights sam-vit-base --out stores/harbours. Run the same command again after an "
        "interruption. `geomtp labels export --help` and `geomtp labels report --help` explain "
        "what can be done with a store.",
    )
    parser.add_argument("images", metavar="IMAGES", help="folder of the images")
    parser.add_argument("annotations", metavar="ANNOTATIONS", help="file or folder of annotations")
    parser.add_argument(
        "--format", dest="form", required=True, metavar="NAME", help=f"one of {LABEL_FORMATS}"
    )
    parser.add_argument("--out", required=True, help="folder of the label store")
    masks = parser.add_argument_group("masks")
    masks.add_argument(
        "--segmenter", default="box", metavar="NAME", help=f"one of {LABEL_SEGMENTERS} (box)"
    )
    masks.add_argument("--weights", metavar="DIR", help="folder with the weights that sam needs")
    masks.add_argument(
        "--prompt",
        default="rh",
        choices=("h", "r", "rh"),
        help="what sam is shown of an object: its horizontal box, its rotated box as a mask, or "
        "the horizontal box around the rotated one (rh)",
    )
    masks.add_argument("--device", default="auto", help="what sam runs on: cpu, cuda, … (auto)")
    masks.add_argument(
        "--boxes-per-batch", type=int, default=64, metavar="N",
        help="objects that sam decodes at once (64)",
    )  # fmt: skip
    masks.add_argument(
        "--zoom-below", dest="zoom_below_px", type=float, default=0, metavar="PX",
        help="show sam objects smaller than this enlarged (0: none)",
    )  # fmt: skip
    masks.add_argument(
        "--online", action="store_true", help="--weights may name a model on the hub"
    )
    masks.add_argument(
        "--no-check",
        dest="check",
        action="store_false",
        help="take masks as they are, instead of holding each against its rotated box",
    )
    masks.add_argument("--keep-raw", action="store_true", help="store the masks as segmented, too")
    _add_data_options(parser.add_argument_group("data"))
    tiles = parser.add_argument_group("tiles")
    tiles.add_argument(
        "--tile", dest="tile_px", type=int, metavar="PX", help="cut the images to this size"
    )
    tiles.add_argument(
        "--gap", dest="tile_gap_px", type=int, default=200, metavar="PX",
        help="how much neighbouring tiles share (200)",
    )  # fmt: skip
    tiles.add_argument(
        "--rates", dest="tile_rates", type=numbers, default=(1.0,), metavar="R,R",
        help="rescaling factors for which tiles are cut; 0.5 gives tiles of twice the size (1)",
    )  # fmt: skip
    tiles.add_argument(
        "--minimum-kept", type=float, default=0.7, metavar="SHARE",
        help="a tile holds an object when this fraction of it lies inside (0.7)",
    )  # fmt: skip
    run = parser.add_argument_group("run")
    run.add_argument(
        "--processes", type=int, metavar="N",
        help="processes on this machine; a launcher's (torchrun, srun) are found without it",
    )  # fmt: skip
    run.add_argument(
        "--images-per-shard", type=int, default=32, metavar="N",
        help="images whose labels are written at once; a killed run loses no more (32)",
    )  # fmt: skip
    run.add_argument(
        "--skip-bad", action="store_true", help="do not fail for images that cannot be read"
    )
    run.add_argument("--strict", action="store_true", help="stop at the first malformed annotation")
    run.add_argument(
        "--no-report", dest="report", action="store_false", help="write no report.html"
    )
    return parser


def _add_data_options(data: argparse._ArgumentGroup) -> None:
    data.add_argument("--source", metavar="NAME", help="name of the data set (the folder of --out)")
    data.add_argument(
        "--classes", type=names, metavar="A,B", help="class names in order (alphabetical)"
    )
    data.add_argument(
        "--class-map", metavar="FILE", help="file that renames classes, or leaves them out"
    )
    data.add_argument(
        "--skip-unknown", action="store_true", help="leave out objects of other classes"
    )
    data.add_argument(
        "--split",
        default="hash",
        choices=("hash", "folders", "train", "val", "test"),
        help="how images are split: a share by the hash of their names, by folders named train, "
        "val and test, or all the same (hash)",
    )
    data.add_argument(
        "--val-share", type=float, default=0.1, metavar="SHARE",
        help="how much goes to val by hash; tiles NAME__… of an image stay together (0.1)",
    )  # fmt: skip
    data.add_argument(
        "--channels", type=int, default=3, metavar="N", help="bands that training reads (3)"
    )
    data.add_argument(
        "--mean", type=numbers, metavar="M,M,M", help="of each channel (measured on 100 images)"
    )
    data.add_argument("--std", type=numbers, metavar="S,S,S", help="as --mean")
    data.add_argument("--gsd", dest="gsd_m", type=float, metavar="M", help="metres per pixel")
    data.add_argument("--licence", default="", help="of images and labels")


def labels_export(words: Sequence[str]) -> int:
    """A label store in the layout of other tools."""
    parser = argparse.ArgumentParser(
        prog="geomtp labels export",
        description=labels_export.__doc__,
        epilog="example: geomtp labels export stores/harbours --format dota --out harbours_dota",
    )
    parser.add_argument("store", metavar="STORE", help="folder of the store")
    parser.add_argument(
        "--format", dest="form", required=True, metavar="NAME", help=f"one of {EXPORT_FORMATS}"
    )
    parser.add_argument("--out", required=True, help="new or empty folder to write into")
    parser.add_argument("--split", choices=("train", "val", "test"), help="only this split")
    chosen = parser.parse_args(words)
    from geomtp.labels.exports.by_name import export_store

    print(export_store(chosen.store, chosen.form, chosen.out, split=chosen.split))
    return 0


def labels_report(words: Sequence[str]) -> int:
    """A page with counts, histograms and pictures of the best, the worst and random labels."""
    parser = argparse.ArgumentParser(
        prog="geomtp labels report",
        description=labels_report.__doc__,
        epilog="example: geomtp labels report stores/harbours",
    )
    parser.add_argument("store", metavar="STORE", help="folder of the store")
    parser.add_argument("--out", help="folder for report.html and report.json (the store's)")
    chosen = parser.parse_args(words)
    from geomtp.labels.report.page import write_report
    from geomtp.labels.store.label_store import LabelStore

    print(write_report(LabelStore.open(chosen.store), chosen.out or chosen.store))
    return 0


LABEL_VERBS: dict[str, Callable[[Sequence[str]], int]] = {
    "export": labels_export,
    "report": labels_report,
}
