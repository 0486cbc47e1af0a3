"""``geomtp demo``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence


def demo(words: Sequence[str]) -> int:
    """The whole story on embedded scenes: labels, pretraining, fine-tuning, a map, a report."""
    parser = argparse.ArgumentParser(
        prog="geomtp demo",
        description=demo.__doc__,
        epilog="example: geomtp demo --out my_first_run. The same command goes on after an "
        "interruption.",
    )
    parser.add_argument("--out", default="demo_run", help="folder of the demo (demo_run)")
    parser.add_argument("--quick", action="store_true", help="under a minute and a half")
    parser.add_argument(
        "--serve", action="store_true", help="open the page in the browser at the end; Ctrl-C ends"
    )
    chosen = parser.parse_args(words)
    from pathlib import Path

    from geomtp.demo import run_demo
    from geomtp.demo.mapping import page_words

    run_demo(Path(chosen.out), quick=chosen.quick)
    if chosen.serve:
        from geomtp.commands.serve import serve

        return serve(page_words(Path(chosen.out)))
    return 0
