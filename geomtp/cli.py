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


def pretrain(words: Sequence[str]) -> int:
    """Pretraining: `mtp`, multi-task."""
    stages = ("mtp",)
    parser = argparse.ArgumentParser(
        prog="geomtp pretrain",
        description=pretrain.__doc__,
        epilog="example: geomtp pretrain mtp --config real_small --data DATA --out runs/first",
    )
    parser.add_argument("stage", choices=stages)
    if not words or words[0] not in stages:
        parser.parse_args(list(words))
    from geomtp.recipes.filling import fill, parser_of
    from geomtp.training.configs import PretrainMTP

    program = "geomtp pretrain mtp"
    if {"-h", "--help"} & set(words):
        parser_of(PretrainMTP, program).print_help()
        print(f"\n{parser.epilog}")
        return 0
    config = fill(PretrainMTP, words[1:], program)
    from geomtp.training.mtp import pretrain_mtp, story_of

    result = pretrain_mtp(config)
    print(story_of(result))
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


VERBS: dict[str, Callable[[Sequence[str]], int]] = {
    "demo": demo,
    "pretrain": pretrain,
    "weights": weights,
    "recipes": recipes,
}


def _version() -> str:
    from geomtp import __version__

    return f"geomtp {__version__}"


if __name__ == "__main__":
    sys.exit(main())
