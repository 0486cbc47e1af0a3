"""``geomtp weights``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any


def weights(words: Sequence[str]) -> int:
    """Look into weight files, and carry official weights in and out."""
    chosen = _parser().parse_args(words)
    if chosen.verb in ("card", "fetch", "push"):
        print(_published(chosen))
        return 0
    if chosen.verb == "export-onnx":
        return _export_graph(chosen)
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


def _parser() -> argparse.ArgumentParser:
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
    importing.add_argument("--image-size", type=int, help="of an encoder alone; default: 224")
    importing.add_argument("--in-channels", type=int, help="of an encoder alone; default: 3")
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
    _add_graphs(verbs)
    return parser


def _add_graphs(verbs: Any) -> None:
    graphs = verbs.add_parser("export-onnx", help="a graph for other programs, checked")
    graphs.add_argument("file", help="a model, or an encoder alone")
    graphs.add_argument("--out", required=True, help="file to write (.onnx or .pt2)")
    graphs.add_argument("--format", choices=("onnx", "torch_export"), help="default: by the suffix")
    graphs.add_argument(
        "--image-size", type=int, help="side of the images; default: what the model was made for"
    )
    graphs.add_argument("--source", help="whose classes; default: the model's only source")
    graphs.add_argument("--encoder-only", action="store_true", help="leave the decoders out")
    graphs.add_argument(
        "--no-normalise",
        action="store_true",
        help="a graph that takes normalised images; otherwise it takes pixels of the files",
    )
    graphs.add_argument(
        "--one-size", action="store_true", help="a graph for images of --image-size alone"
    )


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


def _export_graph(chosen: argparse.Namespace) -> int:
    from pathlib import Path

    from geomtp.inference.graphs.exporting import ExportGraph, export_graph

    facts = export_graph(
        ExportGraph(
            checkpoint=Path(chosen.file),
            out=Path(chosen.out),
            form=chosen.format,
            image_size=chosen.image_size,
            source=chosen.source,
            encoder_only=chosen.encoder_only,
            normalise=not chosen.no_normalise,
            any_size=not chosen.one_size,
        )
    )
    print(f"{chosen.out}: {facts}")
    return 0
