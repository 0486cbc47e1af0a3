"""``geomtp weights``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence


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
    card = verbs.add_parser("card", help="a model card, README.md beside the file")
    card.add_argument("file")
    card.add_argument("--out", help="write it there instead")
    _add_licence(card)
    fetching = verbs.add_parser("fetch", help="weights out of a repository of the Hugging Face hub")
    fetching.add_argument("repository", metavar="USER/NAME")
    fetching.add_argument("--out", required=True, help="folder to write")
    fetching.add_argument("--revision", help="branch, tag or commit")
    pushing = verbs.add_parser("push", help="a file of ours, with its card, into a repository")
    pushing.add_argument("file", help="or the folder of a run")
    pushing.add_argument("repository", metavar="USER/NAME")
    pushing.add_argument("--revision", help="branch")
    pushing.add_argument("--private", action="store_true", help="where it is made anew")
    _add_licence(pushing)
    chosen = parser.parse_args(words)
    if chosen.verb in ("card", "fetch", "push"):
        print(_published(chosen))
        return 0
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


def _add_licence(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--licence", default="unknown", help="of the weights, as the hub names it (mit, cc-by-4.0)"
    )


def _published(chosen: argparse.Namespace) -> str:
    """What came of a verb that concerns others."""
    from geomtp import hub

    if chosen.verb == "card":
        return str(hub.write_card(chosen.file, chosen.out, licence=chosen.licence))
    if chosen.verb == "fetch":
        return str(hub.fetch_into(chosen.repository, chosen.out, chosen.revision))
    return hub.push_to_hub(
        chosen.file,
        chosen.repository,
        private=chosen.private or None,
        revision=chosen.revision,
        licence=chosen.licence,
    )
