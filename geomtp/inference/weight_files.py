"""Weight files: what they hold, official weights into ours, ours under official names."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from geomtp.checkpoints import (
    export_official,
    import_official,
    read_foreign,
    read_weights,
    replacing,
    save_weights,
)
from geomtp.encoders.presets import create_encoder
from geomtp.encoders.weights import load_encoder_weights
from geomtp.inference.graphs.onnx_models import facts_of, open_session
from geomtp.inference.official_files import lines_on_official
from geomtp.mae import MaeConfig, load_mae, save_mae
from geomtp.mae.files import ENCODER_KIND, KIND
from geomtp.model import load, save


def inspect(path: str | Path) -> str:
    """A few lines on what the file at ``path`` is: kind, what it fits, tensors, parts of names."""
    if Path(path).suffix == ".onnx":
        return f"{path}: {facts_of(open_session(path), path)}"
    kind = "foreign weights"
    try:
        tensors, info = read_weights(path)
        kind = f"geomtp {info.get('kind', 'weights')}"
    except ValueError:
        tensors, info = read_foreign(path), {}
    elements = sum(tensor.numel() for tensor in tensors.values())
    parts = Counter(".".join(key.split(".")[:2]) for key in tensors)
    lines = [f"{path}: {kind}, {len(tensors)} tensors, {elements / 1e6:.2f} M numbers"]
    lines += _lines_on_mae(tensors, info)
    if not info:
        lines += lines_on_official(tensors)
    if "encoder" in info:
        lines.append(f"encoder {info['encoder']}, made for {info['image_size']} px")
    if "model" in info:
        sources = info["model"]["sources"]
        lines.append(f"encoder {info['model']['encoder']}, sources {', '.join(sources)}")
    for part, count in parts.most_common(40):
        example = next(key for key in tensors if key.startswith(part))
        lines.append(f"  {part:<40} {count:>4} tensors, {example} {tuple(tensors[example].shape)}")
    return "\n".join(lines)


def _lines_on_mae(tensors: dict[str, torch.Tensor], info: dict[str, Any]) -> list[str]:
    """What is to be said of a whole masked autoencoder, ours or official."""
    try:
        config = (
            MaeConfig.from_json(info["mae"]) if "mae" in info else MaeConfig.of_official(tensors)
        )
    except ValueError:  # something else
        return []
    return [
        f"masked autoencoder for {config.encoder}, made for {config.image_size} px and "
        f"{config.in_channels} channels; decoder {config.decoder_width} wide, "
        f"{config.decoder_depth} blocks"
    ]


def import_weights(
    path: str | Path,
    out: str | Path,
    *,
    encoder: str | None = None,
    image_size: int | None = None,
    in_channels: int | None = None,
    like: str | Path | None = None,
    mae: bool = False,
) -> str:
    """Read official weights from ``path`` and write them to ``out`` as ours; the import's report.

    - encoder: take the encoder alone; ``image_size`` (224 by default) and ``in_channels`` (3) are
      what it is made for
    - like: a whole-model file of ours with the settings (sources, widths) of the official model
    - mae: a whole masked autoencoder, whose settings are read from its shapes

    Raises ValueError unless exactly one of them is given, for a size or channels where these
    follow from the weights, or when the weights do not fit.
    """
    if sum((encoder is not None, like is not None, mae)) != 1:
        raise ValueError(
            "say what to make: --encoder NAME for the encoder alone, --like MODEL, or --mae"
        )
    if encoder is None and (image_size, in_channels) != (None, None):
        raise ValueError(
            "image size and channels are those of the weights (--mae) or of MODEL (--like): leave "
            "them out, or take the encoder alone by --encoder NAME"
        )
    if mae:
        tensors = read_foreign(path)
        config = MaeConfig.of_official(tensors)
        autoencoder = config.build()
        report = import_official(tensors, autoencoder)
        save_mae(autoencoder, config, out)
        return str(report)
    if like is not None:
        model = load(like)
        report = import_official(read_foreign(path), model)
        save(model, out)
        return str(report)
    assert encoder is not None
    image_size = 224 if image_size is None else image_size
    in_channels = 3 if in_channels is None else in_channels
    made = create_encoder(encoder, image_size=image_size, in_channels=in_channels)
    report = load_encoder_weights(made, path)
    info = {
        "kind": "encoder",
        "encoder": encoder,
        "image_size": image_size,
        "in_channels": in_channels,
        "encoder_options": {},
    }
    save_weights(made.state_dict(), out, info)
    return str(report)


def export(path: str | Path, out: str | Path) -> str:
    """Write our model or encoder at ``path`` to ``out`` under official names; what was written.

    ``out`` ends in ``.pth`` ({"state_dict": …}, or {"model": …} of a masked autoencoder, as the
    references load them) or ``.safetensors``.
    """
    out = Path(out)
    ours, info = read_weights(path)
    kind = info.get("kind")
    part_name = "model" if kind in (KIND, ENCODER_KIND) else "state_dict"
    if kind == ENCODER_KIND:  # a plain ViT: its names are the official ones
        tensors = ours
    elif kind == KIND:
        tensors = export_official(load_mae(path)[0])
    elif kind == "encoder":
        encoder = create_encoder(
            info["encoder"],
            image_size=info["image_size"],
            in_channels=info["in_channels"],
            weights=path,
            **info["encoder_options"],
        )
        tensors = export_official(encoder)
    else:
        tensors = export_official(load(path))
    tensors = {key: tensor.contiguous() for key, tensor in tensors.items()}
    if out.suffix not in (".pth", ".safetensors"):
        raise ValueError(f"official weights go to a .pth or a .safetensors file, got {out.name}")
    with replacing(out) as part:
        if out.suffix == ".pth":
            torch.save({part_name: tensors}, part)
        else:
            save_file(tensors, part)
    return f"{len(tensors)} tensors under official names in {out}"
