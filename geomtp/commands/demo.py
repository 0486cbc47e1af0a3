"""``geomtp demo``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence


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
