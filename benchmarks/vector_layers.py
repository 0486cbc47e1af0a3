"""Writing what was found in a large scene: a million rotated boxes, and a class map as polygons.

    python -m benchmarks.vector_layers [--objects 1000000] [--map_px 10000] [--format gpkg]

Figures: shapes, seconds, microseconds per shape, size of the file, and the growth of the process's
peak memory. The map has ten patches on a thousand square pixels, a hard case. On one
core (processor time): 9 us for each box, 30 us for each polygon of the map.
"""

from __future__ import annotations

import argparse
import math
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from geomtp.inference.objects.scene_objects import SceneObjects
from geomtp.inference.outputs.map_polygons import write_polygons_of_map
from geomtp.inference.outputs.vector_files import write_objects
from geomtp.rasters import Georeference
from geomtp.types import ClassMap

UTM = Georeference("EPSG:32632", (0.5, 0.0, 400_000.0, 0.0, -0.5, 6_000_000.0))
CLASSES = ClassMap(tuple(f"class {number}" for number in range(15)))


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measured(what: str, path: Path, write: Callable[[Path], int]) -> None:
    before, start = peak_mib(), time.process_time()
    count = write(path)
    seconds = time.process_time() - start
    print(
        f"{what:10} {count:9} {seconds:8.1f} s {seconds / max(1, count) * 1e6:7.1f} us each "
        f"{path.stat().st_size / 2**20:7.0f} MiB +{peak_mib() - before:.0f} MiB memory"
    )


def objects(count: int, generator: np.random.Generator) -> SceneObjects:
    side = math.sqrt(count * 2500)
    unit = generator.random((count, 5))
    boxes = unit * [side, side, 40, 12, math.pi] + [0, 0, 20, 8, -math.pi / 2]
    scores = np.sort(generator.random(count))[::-1]
    return SceneObjects(scores, generator.integers(0, 15, count), rboxes_cxcywha=boxes)


def class_map(side_px: int, generator: np.random.Generator) -> np.ndarray:
    coarse = generator.integers(0, 4, (side_px // 6 + 1,) * 2, dtype=np.uint8)
    return np.kron(coarse, np.ones((6, 6), np.uint8))[:side_px, :side_px]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--objects", type=int, default=1_000_000)
    parser.add_argument("--map_px", type=int, default=10_000)
    parser.add_argument("--format", choices=("gpkg", "geojson", "parquet"), default="gpkg")
    arguments = parser.parse_args()
    generator = np.random.default_rng(0)
    found = objects(arguments.objects, generator)
    values = class_map(arguments.map_px, generator)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"scene.{arguments.format}"
        few = objects(10, generator)
        write_objects(path, few, CLASSES, UTM, task="rotated")  # imports
        measured("objects", path, lambda p: write_objects(p, found, CLASSES, UTM, task="rotated"))
        measured(
            "map",
            path,
            lambda p: write_polygons_of_map(p, values, CLASSES, UTM, task="semantic"),
        )


if __name__ == "__main__":
    main()
