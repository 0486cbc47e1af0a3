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
