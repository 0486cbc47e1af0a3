"""Windows per second: `geomtp predict` from file to file, against the bare model on such windows.

    python -m benchmarks.predict_throughput [--encoder NAME] [--side PX] [--window PX] [--rounds N]

Prints the rate of the model alone on random windows in memory, that of a plain loop (read a
window, predict, write its middle into one array) and that of the command's machinery, all in one
process and in turn, on a scene made for it. Beside the clock's seconds it counts the processor's,
which tell the same on a machine with other work; with several rounds each has its turn in each.
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
from geomtp.inference.windows.window_model import WindowModel, open_model
from geomtp.model import ModelConfig, MultiTaskModel, SourceConfig, build_model, save
from geomtp.types import ClassMap


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default="vit_t_rvsa")
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--compile", action="store_true")
    chosen = parser.parse_args()
    source = SourceConfig(ClassMap(tuple("abcdef")), ("semantic",))
    config = ModelConfig(chosen.encoder, chosen.window, {"made": source}, semantic_channels=64)
    model = build_model(config).eval()
    with tempfile.TemporaryDirectory() as folder:
        scene = _scene(Path(folder) / "scene.tif", chosen.side)
        save(model, Path(folder) / "model.safetensors")
        looked_at = open_model(_settings(scene, Path(folder), chosen))
        ways: dict[str, Callable[[], int]] = {
            "model alone": lambda: _bare(model, chosen),
            "plain loop": lambda: _loop(model, scene, chosen),
            "geomtp predict": lambda: _command(looked_at, scene, Path(folder), chosen),
        }
        for way in ways.values() if chosen.compile else [ways["model alone"]]:
            way()  # warms up
        rates = {name: Rates() for name in ways}
        for _ in range(chosen.rounds):
            for name, way in ways.items():
                rates[name].measure(way)
    flags = f"{chosen.precision}{', compiled' if chosen.compile else ''}"
    print(
        f"{rates['geomtp predict'].windows} windows of {chosen.window} px in {chosen.rounds} "
        f"rounds, {chosen.encoder}, {chosen.batch} at once; geomtp predict {flags}, others fp32"
    )
    bare = rates["model alone"]
    for name, found in rates.items():
        each, cpu_each = found.seconds / found.windows, found.cpu_seconds / found.windows
        share = bare.seconds / bare.windows / each
        cpu_share = bare.cpu_seconds / bare.windows / cpu_each
        print(
            f"{name:<14} {1 / each:6.2f} windows/s ({share:.2f}) "
            f"{1 / cpu_each:6.2f} per CPU second ({cpu_share:.2f}), {1e3 * cpu_each:.1f} ms each"
        )


@dataclass
class Rates:
    """Windows, and the seconds of the clock and of the processor that they took."""

    windows: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def measure(self, way: Callable[[], int]) -> None:
        """Add a run of ``way``, which says how many windows it looked at."""
        began, cpu_began = time.perf_counter(), time.process_time()
        self.windows += way()
        self.seconds += time.perf_counter() - began
        self.cpu_seconds += time.process_time() - cpu_began


def _scene(path: Path, side: int) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (3, side, side), dtype=np.uint8)
    profile = {"driver": "GTiff", "height": side, "width": side, "count": 3, "dtype": "uint8"}
    with rasterio.open(path, "w", tiled=True, compress="deflate", **profile) as file:
        file.write(pixels)
    return path


def _settings(scene: Path, folder: Path, chosen: argparse.Namespace) -> Predict:
    return Predict(
        checkpoint=folder / "model.safetensors",
        images=(str(scene),),
        out=folder / f"maps{time.monotonic_ns()}",
        window=chosen.window,
        windows_at_once=chosen.batch,
        precision=chosen.precision,
        compile=chosen.compile,
        device="cpu",
    )


def _command(looked_at: WindowModel, scene: Path, folder: Path, chosen: argparse.Namespace) -> int:
    (result,) = predict_scenes(_settings(scene, folder, chosen), lambda text: None, model=looked_at)
    return int(result.summary["windows"])


@torch.inference_mode()
def _bare(model: MultiTaskModel, chosen: argparse.Namespace) -> int:
    """As many windows as the scene has, in whole batches."""
    batch = torch.randn(chosen.batch, 3, chosen.window, chosen.window)
    sizes = [(chosen.window, chosen.window)] * chosen.batch
    along = -(-(chosen.side - chosen.window) // (chosen.window * 3 // 4)) + 1
    batches = -(-(along**2) // chosen.batch)
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
