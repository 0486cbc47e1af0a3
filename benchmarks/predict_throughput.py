"""Windows per second: `geomtp predict` from file to file, against the bare model on such windows.

    python -m benchmarks.predict_throughput [--encoder NAME] [--side PX] [--window PX]

Prints the rate of the model alone on random windows in memory, that of a plain loop (read a
window, predict, write its middle into one array) and that of the command's machinery, all in one
process and in turn, on a scene made for it. Beside the clock's seconds it counts the processor's,
which tell the same on a machine with other work.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import torch

from geomtp.inference.predict import predict_scenes
from geomtp.inference.predict_config import Predict
from geomtp.inference.window_model import WindowModel
from geomtp.model import ModelConfig, MultiTaskModel, SourceConfig, build_model, save
from geomtp.types import ClassMap


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default="vit_t_rvsa")
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--batch", type=int, default=4)
    chosen = parser.parse_args()
    source = SourceConfig(ClassMap(tuple("abcdef")), ("semantic",))
    config = ModelConfig(chosen.encoder, chosen.window, {"made": source}, semantic_channels=64)
    model = build_model(config).eval()
    with tempfile.TemporaryDirectory() as folder:
        scene = _scene(Path(folder) / "scene.tif", chosen.side)
        save(model, Path(folder) / "model.safetensors")
        _bare(model, 4, chosen)  # warms up
        ours = _rates(lambda: _command(model, scene, Path(folder), chosen))
        loop = _rates(lambda: _loop(model, scene, chosen))
        bare = _rates(lambda: _bare(model, loop.windows, chosen))
    print(f"{ours.windows} windows of {chosen.window} px, {chosen.encoder}, {chosen.batch} at once")
    for name, rates in (("model alone", bare), ("plain loop", loop), ("geomtp predict", ours)):
        share = rates.per_second / bare.per_second
        cpu_share = rates.per_cpu_second / bare.per_cpu_second
        print(
            f"{name:<14} {rates.per_second:6.2f} windows/s ({share:.2f}) "
            f"{rates.per_cpu_second:6.2f} per CPU second ({cpu_share:.2f})"
        )


@dataclass(frozen=True)
class Rates:
    """Windows, and how many of them in a second of the clock and of the processor."""

    windows: int
    per_second: float
    per_cpu_second: float


def _rates(run: Callable[[], int]) -> Rates:
    began, cpu_began = time.perf_counter(), time.process_time()
    windows = run()
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    return Rates(windows, windows / seconds, windows / cpu_seconds)


def _scene(path: Path, side: int) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (3, side, side), dtype=np.uint8)
    profile = {"driver": "GTiff", "height": side, "width": side, "count": 3, "dtype": "uint8"}
    with rasterio.open(path, "w", tiled=True, compress="deflate", **profile) as file:
        file.write(pixels)
    return path


def _command(model: MultiTaskModel, scene: Path, folder: Path, chosen: argparse.Namespace) -> int:
    config = Predict(
        checkpoint=folder / "model.safetensors",
        images=(str(scene),),
        out=folder / f"maps{time.monotonic_ns()}",
        window=chosen.window,
        windows_at_once=chosen.batch,
    )
    looked_at = WindowModel(model, "made", torch.device("cpu"))
    (result,) = predict_scenes(config, lambda text: None, model=looked_at)
    return int(result.summary["windows"])


@torch.inference_mode()
def _bare(model: MultiTaskModel, windows: int, chosen: argparse.Namespace) -> int:
    batch = torch.randn(chosen.batch, 3, chosen.window, chosen.window)
    sizes = [(chosen.window, chosen.window)] * chosen.batch
    batches = -(-windows // chosen.batch)
    for _ in range(batches):
        model.predict(batch, sizes, "made")
    return batches * chosen.batch


@torch.inference_mode()
def _loop(model: MultiTaskModel, scene: Path, chosen: argparse.Namespace) -> int:
    side, stride = chosen.window, chosen.window * 3 // 4
    count = 0
    with rasterio.open(scene) as file:
        found = np.zeros(file.shape, dtype=np.uint8)
        for y in range(0, file.height - side + 1, stride):
            for x in range(0, file.width - side + 1, stride):
                pixels = file.read(window=((y, y + side), (x, x + side))).astype(np.float32)
                image = (torch.from_numpy(pixels)[None] - 120) / 58
                said = model.predict(image, [(side, side)], "made")[0]
                found[y : y + side, x : x + side] = said.semantic.numpy()
                count += 1
    return count


if __name__ == "__main__":
    main()
