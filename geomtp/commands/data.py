"""``geomtp data``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from geomtp.commands.words import numbers


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
        "--download", dest="fetch", action="store_true",
        help="download it into the folder --from first, by torchgeo (see `geomtp data list`)",
    )  # fmt: skip
    preparing.add_argument(
        "--tile", dest="size_px", type=int, metavar="PX",
        help="size of tiles (dota_v1, dota_v2, fair1m; by default as the reference)",
    )  # fmt: skip
    preparing.add_argument(
        "--gap", dest="gap_px", type=int, metavar="PX", help="how much neighbouring tiles share"
    )
    preparing.add_argument(
        "--rates", type=numbers, metavar="R,R", help="rescaling factors for which tiles are cut"
    )
    preparing.add_argument(
        "--empty-tiles", choices=("none", "val", "all"),
        help="of which labelled images tiles without objects are kept (default: val)",
    )  # fmt: skip
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
