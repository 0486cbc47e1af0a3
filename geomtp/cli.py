"""The command line: each verb is one call into the package. Heavy imports are inside the verbs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

TRACEBACK = "GEOMTP_TRACEBACK"
"""Environment variable that asks for the traceback of an error, for those who mend geomtp."""

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; the exit status: 0, 1 for an error the user can mend, 2 for a wrong command."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    # Threads that wait must sleep: spinning, they slow a step twentyfold where anything else
    # (a data worker is enough) wants the same core. Read by the libraries when they are loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    parser = argparse.ArgumentParser(
        prog="geomtp",
        description="Multi-task pretraining of remote-sensing foundation models.",
        epilog="`geomtp VERB --help` explains a verb, with an example.",
    )
    parser.add_argument("--version", action="version", version=_version())
    parser.add_argument("verb", choices=VERBS, metavar="VERB", help=", ".join(VERBS))
    if not words or words[0] not in VERBS:
        parser.parse_args(words or ["--help"])
    try:
        return VERBS[words[0]](words[1:])
    except KeyboardInterrupt:
        print("geomtp: interrupted", file=sys.stderr)
        return INTERRUPTED
    except (ValueError, OSError) as error:
        if os.environ.get(TRACEBACK):
            raise
        print(f"geomtp: {' '.join(str(error).split())}", file=sys.stderr)
        return 1


def demo(words: Sequence[str]) -> int:
    """The story on embedded scenes, with pictures and figures at the end."""
    parser = argparse.ArgumentParser(
        prog="geomtp demo",
        description=demo.__doc__,
        epilog="example: geomtp demo --out my_first_run",
    )
    parser.add_argument("--out", default="demo_run", help="folder of the run (demo_run)")
    parser.add_argument("--quick", action="store_true", help="under a minute and a half")
    chosen = parser.parse_args(words)
    from pathlib import Path

    from geomtp.demo import run_demo

    run_demo(Path(chosen.out), quick=chosen.quick)
    return 0


def labels(words: Sequence[str]) -> int:
    """Multi-task labels (instances, rotated boxes, semantic maps) from boxes on images."""
    if words and words[0] in LABEL_VERBS:
        return LABEL_VERBS[words[0]](words[1:])
    chosen = _labels_parser().parse_args(words)
    settings = vars(chosen)
    from pathlib import Path

    for name in ("images", "annotations", "out", "weights", "class_map"):
        settings[name] = settings[name] and Path(settings[name])
    from geomtp.labels.engine import generate
    from geomtp.labels.generate_config import GenerateLabels

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
        "--rates", dest="tile_rates", type=_numbers, default=(1.0,), metavar="R,R",
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
        "--classes", type=_names, metavar="A,B", help="class names in order (alphabetical)"
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
        "--mean", type=_numbers, metavar="M,M,M", help="of each channel (measured on 100 images)"
    )
    data.add_argument("--std", type=_numbers, metavar="S,S,S", help="as --mean")
    data.add_argument("--gsd", dest="gsd_m", type=float, metavar="M", help="metres per pixel")
    data.add_argument("--licence", default="", help="of images and labels")


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))


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
    from geomtp.labels.exports import export_store

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
    from geomtp.labels.report_page import write_report
    from geomtp.labels.store import LabelStore

    print(write_report(LabelStore.open(chosen.store), chosen.out or chosen.store))
    return 0


def data(words: Sequence[str]) -> int:
    """Public data sets: `list` them, and `prepare` one for fine-tuning by its recipe."""
    parser = argparse.ArgumentParser(
        prog="geomtp data",
        description=data.__doc__,
        epilog="example: geomtp data prepare dota_v1 --from DOTA --out stores/dota_v1. Run the "
        "same command again after an interruption.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    listing = verbs.add_parser("list", help="what there is, or the card of one")
    listing.add_argument("name", nargs="?", metavar="NAME", help="show this card")
    preparing = verbs.add_parser("prepare", help="make the label store that a recipe reads")
    preparing.add_argument("name", metavar="NAME", help="see `geomtp data list`")
    preparing.add_argument("--from", dest="root", required=True, help="folder of the data set")
    preparing.add_argument("--out", required=True, help="folder of the label store and its images")
    preparing.add_argument(
        "--tile", dest="size_px", type=int, metavar="PX",
        help="size of tiles (dota_v1, dota_v2, fair1m; by default as the reference)",
    )  # fmt: skip
    preparing.add_argument(
        "--gap", dest="gap_px", type=int, metavar="PX", help="how much neighbouring tiles share"
    )
    preparing.add_argument(
        "--rates", type=_numbers, metavar="R,R", help="rescaling factors for which tiles are cut"
    )
    preparing.add_argument(
        "--skip-bad", action="store_true", help="leave out images that cannot be read"
    )
    preparing.add_argument(
        "--strict", action="store_true", help="stop at the first malformed annotation"
    )
    chosen = vars(parser.parse_args(words))
    from pathlib import Path

    from geomtp.data import preparing as public

    if chosen.pop("verb") == "list":
        print(public.card(chosen["name"]) if chosen["name"] else public.listing())
        return 0
    chosen |= {name: Path(chosen[name]) for name in ("root", "out")}
    print(public.prepare(**chosen, progress=sys.stderr.isatty()))
    return 0


def pretrain(words: Sequence[str]) -> int:
    """Pretraining: `mae`, masked autoencoding of images without labels; `mtp`, multi-task."""
    parser = argparse.ArgumentParser(
        prog="geomtp pretrain",
        description=pretrain.__doc__,
        epilog="example: geomtp pretrain mtp --config real_small --data DATA --out runs/first",
    )
    parser.add_argument("stage", choices=PRETRAIN_VERBS)
    if not words or words[0] not in PRETRAIN_VERBS:
        parser.parse_args(list(words))
    return PRETRAIN_VERBS[words[0]](words[1:])


def pretrain_mae(words: Sequence[str]) -> int:
    """Masked autoencoding of images without labels."""
    from geomtp.recipes.filling import fill, parser_of
    from geomtp.training.mae_config import PretrainMAE

    program = "geomtp pretrain mae"
    if {"-h", "--help"} & set(words):
        parser_of(PretrainMAE, program).print_help()
        print("\nexample: geomtp pretrain mae --config mae_small --data IMAGES --out runs/mae")
        return 0
    config = fill(PretrainMAE, words, program)
    from geomtp.training import mae

    result = mae.pretrain_mae(config)
    print(mae.story_of(result))
    return INTERRUPTED if result.stopped else 0


def pretrain_mtp(words: Sequence[str]) -> int:
    """Multi-task pretraining on labelled sources."""
    from geomtp.recipes.filling import fill, parser_of
    from geomtp.training.configs import PretrainMTP

    program = "geomtp pretrain mtp"
    if {"-h", "--help"} & set(words):
        parser_of(PretrainMTP, program).print_help()
        print("\nexample: geomtp pretrain mtp --config real_small --data DATA --out runs/first")
        return 0
    config = fill(PretrainMTP, words, program)
    from geomtp.training import mtp
    from geomtp.training.run import story_of

    result = mtp.pretrain_mtp(config)
    print(story_of(result, program))
    return INTERRUPTED if result.stopped else 0


def finetune(words: Sequence[str]) -> int:
    """One task on a data set: scene, semantic, instance, horizontal, rotated or change."""
    tasks = ("scene", "semantic", "instance", "horizontal", "rotated", "change")
    parser = argparse.ArgumentParser(
        prog="geomtp finetune",
        description=finetune.__doc__,
        epilog="example: geomtp finetune scene --data my_photos --encoder tf_efficientnet_lite0 "
        "--weights imagenet --steps 500 --out runs/my_photos",
    )
    from geomtp.recipes.filling import fill, finetune_recipes, parser_of

    recipes = finetune_recipes()
    parser.add_argument("task", metavar="TASK|RECIPE", choices=(*tasks, *recipes))
    if not words or words[0] not in (*tasks, *recipes, "-h", "--help"):
        parser.parse_args(list(words))
    from geomtp.training.configs import FineTune

    if {"-h", "--help"} & set(words):
        parser_of(FineTune, "geomtp finetune TASK|RECIPE").print_help()
        print(f"\n{parser.epilog}\nrecipes: {', '.join(recipes)}")
        return 0
    program = f"geomtp finetune {words[0]}"
    first = "config" if words[0] in recipes else "task"
    config = fill(FineTune, [*words[1:], f"--{first}={words[0]}"], program)
    from geomtp.training.finetune import finetune as run
    from geomtp.training.run import story_of

    result = run(config)
    print(story_of(result, program))
    return INTERRUPTED if result.stopped else 0


def evaluate(words: Sequence[str]) -> int:
    """Scores of a model on labelled images, prediction maps, files for evaluation servers."""
    if any(word.partition("=")[0] == "--check-submission" for word in words):
        return evaluate_check(words)
    if words and words[0] == "fair1m-xml":
        return evaluate_fair1m_xml(words[1:])
    from geomtp.evaluation.evaluate_config import Evaluate
    from geomtp.recipes.filling import fill, parser_of

    program = "geomtp evaluate"
    if {"-h", "--help"} & set(words):
        parser_of(Evaluate, f"{program} CHECKPOINT").print_help()
        print("\nexample: geomtp evaluate runs/a/best.safetensors --data DATA --out evaluation")
        print("also: geomtp evaluate --check-submission FILE.zip [--submit KIND] [--images DIR]")
        print("      geomtp evaluate fair1m-xml TASK1 --images DIR --out FILE.zip")
        return 0
    named = list(words)
    if named and not named[0].startswith("--"):
        named[0] = f"--checkpoint={named[0]}"
    config = fill(Evaluate, named, program)
    from geomtp.evaluation.run import evaluate as run

    result = run(config)
    for name, value in result.figures.items():
        print(f"{name:<28} {value:.4f}")
    print(result.page)
    return 0


def evaluate_check(words: Sequence[str]) -> int:
    """Whether an evaluation server would take a submission."""
    parser = argparse.ArgumentParser(
        prog="geomtp evaluate --check-submission",
        description=evaluate_check.__doc__,
        epilog="example: geomtp evaluate --check-submission Task1.zip --images DOTA/test/images",
    )
    parser.add_argument("--check-submission", required=True, metavar="FILE", help="the zip")
    parser.add_argument(
        "--submit", choices=("dota", "fair1m", "loveda"), help="for which server (by its files)"
    )
    parser.add_argument("--images", metavar="DIR", help="test images, to compare names and sizes")
    chosen = parser.parse_args(words)
    from pathlib import Path

    from geomtp.evaluation.submission_check import check_submission
    from geomtp.evaluation.submission_files import Expected

    expected = Expected.of_folder(Path(chosen.images)) if chosen.images else None
    checked = check_submission(Path(chosen.check_submission), chosen.submit, expected)
    print(checked.contents)
    for complaint in checked.complaints:
        print(f"geomtp: {complaint}", file=sys.stderr)
    if not checked.complaints:
        print("no fault found")
    return 1 if checked.complaints else 0


def evaluate_fair1m_xml(words: Sequence[str]) -> int:
    """FAIR1M's xml from DOTA's text files of detections."""
    parser = argparse.ArgumentParser(
        prog="geomtp evaluate fair1m-xml",
        description=evaluate_fair1m_xml.__doc__,
        epilog="example: geomtp evaluate fair1m-xml Task1_results --images fair1m/test/images "
        "--out fair1m.zip",
    )
    parser.add_argument("detections", metavar="TASK1", help="folder or zip of Task1_CLASS.txt")
    parser.add_argument("--images", required=True, metavar="DIR", help="the test images")
    parser.add_argument("--out", required=True, metavar="FILE", help="zip to write")
    parser.add_argument(
        "--reference-spelling",
        action="store_true",
        help="a space for every hyphen in class names, as the reference writes",
    )
    chosen = parser.parse_args(words)
    from pathlib import Path

    from geomtp.evaluation.fair1m_conversion import fair1m_from_dota

    places = (Path(chosen.detections), Path(chosen.images), Path(chosen.out))
    print(fair1m_from_dota(*places, reference_spelling=chosen.reference_spelling))
    return 0


def study(words: Sequence[str]) -> int:
    """Studies of many runs: `stages`, does staged pretraining pay?"""
    parser = argparse.ArgumentParser(
        prog="geomtp study",
        description=study.__doc__,
        epilog="example: geomtp study stages --config study_small --data DATA --out studies/small",
    )
    parser.add_argument("study", choices=STUDY_VERBS)
    if not words or words[0] not in STUDY_VERBS:
        parser.parse_args(list(words))
    return STUDY_VERBS[words[0]](words[1:])


def study_stages(words: Sequence[str]) -> int:
    """Encoders prepared in stages, fine-tuned on shares of the labels, compared."""
    from geomtp.recipes.filling import fill, parser_of
    from geomtp.study.settings import StudyStages

    program = "geomtp study stages"
    if {"-h", "--help"} & set(words):
        parser_of(StudyStages, program).print_help()
        print("\nexample: geomtp study stages --config study_small --data DATA --out studies/small")
        return 0
    config = fill(StudyStages, words, program)
    from geomtp.study.alone import leave_launcher

    leave_launcher()  # before Lightning is imported, which counts processes
    from geomtp.study import stages

    result = stages.study_stages(config)
    print(stages.story_of(result, f"{program} {' '.join(words)}"))
    return INTERRUPTED if result.stopped else 0


def weights(words: Sequence[str]) -> int:
    """Look into weight files, and carry official weights in and out."""
    parser = argparse.ArgumentParser(
        prog="geomtp weights",
        description=weights.__doc__,
        epilog="example: geomtp weights import last_vit_b_rvsa_ss_is_rd_pretrn_model.pth "
        "--encoder vit_b_rvsa --image-size 224 --out vit_b.safetensors",
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    inspect = verbs.add_parser("inspect", help="what a file holds")
    inspect.add_argument("file")
    importing = verbs.add_parser("import", help="official weights into a file of ours")
    importing.add_argument("file")
    importing.add_argument("--out", required=True, help="file to write (.safetensors)")
    importing.add_argument("--encoder", help="take the encoder alone, of this name")
    importing.add_argument("--image-size", type=int, default=224)
    importing.add_argument("--in-channels", type=int, default=3)
    importing.add_argument(
        "--like", help="a model file of ours whose settings the whole official model fits"
    )
    importing.add_argument(
        "--mae", action="store_true", help="take a whole masked autoencoder, decoder included"
    )
    exporting = verbs.add_parser("export", help="a file of ours under official names")
    exporting.add_argument("file")
    exporting.add_argument("--out", required=True, help="file to write (.pth or .safetensors)")
    chosen = parser.parse_args(words)
    from geomtp.inference import weight_files

    if chosen.verb == "inspect":
        print(weight_files.inspect(chosen.file))
    elif chosen.verb == "export":
        print(weight_files.export(chosen.file, chosen.out))
    else:
        print(
            weight_files.import_weights(
                chosen.file,
                chosen.out,
                encoder=chosen.encoder,
                image_size=chosen.image_size,
                in_channels=chosen.in_channels,
                like=chosen.like,
                mae=chosen.mae,
            )
        )
    return 0


def recipes(words: Sequence[str]) -> int:
    """What can be run, and with which settings."""
    parser = argparse.ArgumentParser(
        prog="geomtp recipes",
        description=recipes.__doc__,
        epilog="example: geomtp recipes real_small",
    )
    parser.add_argument("name", nargs="?", help="show this recipe")
    chosen = parser.parse_args(words)
    from geomtp.recipes.filling import recipe_names, recipe_text, recipe_title

    if chosen.name:
        print(recipe_text(chosen.name), end="")
    else:
        for name in recipe_names():
            print(f"{name:<12} {recipe_title(name)}")
    return 0


LABEL_FORMATS = "coco, dior, dota, fair1m, geojson, geopackage, samrs, voc, xview, yolo_obb"
LABEL_SEGMENTERS = "sam, grabcut, polygon, box"
EXPORT_FORMATS = "coco, dota, samrs, semantic"

LABEL_VERBS: dict[str, Callable[[Sequence[str]], int]] = {
    "export": labels_export,
    "report": labels_report,
}

PRETRAIN_VERBS: dict[str, Callable[[Sequence[str]], int]] = {
    "mae": pretrain_mae,
    "mtp": pretrain_mtp,
}

STUDY_VERBS: dict[str, Callable[[Sequence[str]], int]] = {"stages": study_stages}

VERBS: dict[str, Callable[[Sequence[str]], int]] = {
    "demo": demo,
    "labels": labels,
    "data": data,
    "pretrain": pretrain,
    "finetune": finetune,
    "evaluate": evaluate,
    "study": study,
    "weights": weights,
    "recipes": recipes,
}


def _version() -> str:
    from geomtp import __version__

    return f"geomtp {__version__}"


if __name__ == "__main__":
    sys.exit(main())
