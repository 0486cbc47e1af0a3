"""Peak memory of `geomtp predict` by the side of the scene, each in a process of its own.

    python -m benchmarks.predict_memory [--sides 5024 15008] [--encoder NAME] [--window PX] …

Without ``--encoder`` a stand-in takes the place of the model: it says a class by brightness and a
rotated box on every square of 32 pixels, so that a scene of 30,016² brings more than a million
detections, of which as many must be left as the scene has squares. Figures: windows, objects, the
peak of resident memory with PyTorch itself, seconds of the processor, and what the work took on
disk beside the files. Memory for scenes on disk is the system's and does not count.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

SQUARE_PX = 32
"""Sides that are a multiple of it give the stand-in the same squares in all windows."""

_ROWS = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[5024, 15008])
    parser.add_argument("--encoder", help="a real model with random weights, semantic maps alone")
    parser.add_argument("--window", type=int, default=1024)
    parser.add_argument("--overlap", type=float, default=0.25)
    parser.add_argument("--folder", type=Path, help="for scenes and maps, some bytes per pixel")
    chosen = parser.parse_args()
    print(
        f"{chosen.encoder or 'stand-in'}, windows of {chosen.window} px, {chosen.overlap} overlap"
    )
    print("      side  windows   objects  peak MiB  CPU s", flush=True)
    for side in chosen.sides:
        with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
            found = measured(Path(folder), side, chosen.encoder, chosen.window, chosen.overlap)
        line = "{side:10} {windows:8} {objects:9} {peak_mib:9.0f} {cpu_s:6.0f}"
        print(line.format(side=side, **found), flush=True)


def measured(
    folder: Path, side: int, encoder: str | None = None, window: int = 1024, overlap: float = 0.25
) -> dict[str, Any]:
    """Windows, objects, peak memory (MiB) and CPU seconds of a prediction in another process."""
    scene = folder / "scene.tif"
    write_scene(scene, side)
    words = [str(scene), encoder or "", str(window), str(overlap)]
    program = "import sys; from benchmarks.predict_memory import predict; predict(*sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", program, *words], stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def write_scene(path: Path, side: int) -> None:
    """Patches of three bands, not compressed, by rows of tiles."""
    rough = np.random.default_rng(0).integers(0, 255, (3, _ROWS // 16, side // 16 + 1))
    rows = np.kron(rough, np.ones((1, 16, 16), dtype=int))[..., :side].astype(np.uint8)
    profile = {"driver": "GTiff", "height": side, "width": side, "count": 3, "dtype": "uint8"}
    tiles = {"tiled": True, "blockxsize": 256, "blockysize": 256, "bigtiff": "IF_SAFER"}
    place = rasterio.transform.from_origin(500_000, 5_000_000, 0.5, 0.5)
    with (
        rasterio.Env(GDAL_CACHEMAX=64 * 2**20),
        rasterio.open(path, "w", crs="EPSG:32632", transform=place, **profile, **tiles) as file,
    ):
        for top in range(0, side, _ROWS):
            height = min(_ROWS, side - top)
            file.write(rows[:, :height], window=((top, top + height), (0, side)))


def predict(scene: str, encoder: str, window: str, overlap: str) -> None:
    """What the other process does; its last line is what ``measured`` gives."""
    import torch

    from geomtp.inference.predict import predict_scenes
    from geomtp.inference.predict_config import Predict
    from geomtp.inference.windows.window_model import WindowModel

    torch.set_num_threads(1)
    checkpoint = Path(scene).with_name("model.safetensors")
    checkpoint.touch()
    model = _real(encoder, int(window)) if encoder else _stand_in(int(window))
    config = Predict(
        checkpoint=checkpoint,
        images=(scene,),
        out=Path(scene).with_name("maps"),
        window=int(window),
        overlap=float(overlap),
    )
    looked_at = WindowModel(model, "made", torch.device("cpu"))
    (result,) = predict_scenes(config, lambda text: print(text, file=sys.stderr), model=looked_at)
    objects = result.summary.get("rotated", {}).get("objects", 0)
    found = {"windows": result.summary["windows"], "objects": objects}
    print(json.dumps(found | {"peak_mib": _peak_mib(), "cpu_s": time.process_time()}))


def _peak_mib() -> float:
    """Of this program alone: ``getrusage`` would count that of the process which started it."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def _source(*tasks: str) -> Any:
    from geomtp.model import SourceConfig
    from geomtp.types import ClassMap

    return SourceConfig(ClassMap(tuple("abcdef")), tasks, (128.0,) * 3, (64.0,) * 3)


def _real(encoder: str, window: int) -> Any:
    from geomtp.model import ModelConfig, build_model

    config = ModelConfig(encoder, window, {"made": _source("semantic")}, semantic_channels=64)
    return build_model(config).eval()


def _stand_in(window: int) -> Any:
    import torch

    from geomtp.model import ModelConfig
    from geomtp.types import Predictions

    sources = {"made": _source("semantic", "rotated")}
    levels = torch.linspace(-1.5, 1.5, 7)[:, None, None]

    class StandIn:
        config = ModelConfig("stand-in", window, sources)

        def tasks_of(self, source: str) -> list[str]:
            return ["semantic", "rotated"]

        def predict(self, images: torch.Tensor, *arguments: Any) -> list[Predictions]:
            height, width = images.shape[2:]
            middles = torch.cartesian_prod(
                torch.arange(SQUARE_PX / 2, width, SQUARE_PX),
                torch.arange(SQUARE_PX / 2, height, SQUARE_PX),
            )
            shape = torch.tensor([24.0, 10.0, 0.3]).expand(len(middles), 3)
            boxes = torch.cat([middles, shape], dim=1)
            labels = torch.arange(len(boxes)) * 0
            scores = torch.full((len(boxes),), 0.9)
            return [
                Predictions(
                    semantic_logits=-((grey - levels) ** 2),
                    rboxes=boxes,
                    rbox_scores=scores,
                    rbox_labels=labels,
                )
                for grey in images.mean(dim=1)
            ]

    return StandIn()


if __name__ == "__main__":
    main()
