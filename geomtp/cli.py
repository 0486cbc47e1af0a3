"""The command line. Verbs import what is heavy when they are called."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from geomtp.commands.data import data
from geomtp.commands.demo import demo
from geomtp.commands.evaluate import evaluate
from geomtp.commands.finetune import finetune
from geomtp.commands.labels import labels
from geomtp.commands.predict import predict
from geomtp.commands.pretrain import pretrain
from geomtp.commands.recipes import recipes
from geomtp.commands.serve import serve
from geomtp.commands.status import INTERRUPTED
from geomtp.commands.study import study
from geomtp.commands.weights import weights

TRACEBACK = "GEOMTP_TRACEBACK"
"""Environment variable that asks for the traceback of an error, for those who mend geomtp."""

VERBS: dict[str, Callable[[Sequence[str]], int]] = {
    "demo": demo,
    "labels": labels,
    "data": data,
    "pretrain": pretrain,
    "finetune": finetune,
    "evaluate": evaluate,
    "predict": predict,
    "serve": serve,
    "study": study,
    "weights": weights,
    "recipes": recipes,
}


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


def _version() -> str:
    from geomtp import __version__

    return f"geomtp {__version__}"


if __name__ == "__main__":
    sys.exit(main())
