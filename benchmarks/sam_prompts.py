"""What embedding an image once and decoding its boxes in batches saves, and the memory it takes.

    python -m benchmarks.sam_prompts [--weights FOLDER] [--boxes N] [--side PIXELS] [--device NAME]

Three ways of asking Segment Anything for the masks of N boxes of one image: as the segmenter does;
one box at a time on the same embedding; embedding the image anew for every box (timed on four
boxes). Without weights the model is random, with SAM's own decoder and an encoder of four layers of
width 384: SAM's smallest is some twelve times as heavy, so the last ratio is far too low. Peak
memory is that of the whole process, libraries included.
"""

from __future__ import annotations

import argparse
import math
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from geomtp.labels import AnnotatedObject, Annotations
from geomtp.labels.segmenters.sam import SamSegmenter
from geomtp.labels.segmenters.sam_models import SamModels, load_sam


def random_model(device: str) -> SamModels:
    import transformers

    torch.manual_seed(0)
    vision = {
        "hidden_size": 384,
        "num_hidden_layers": 4,
        "num_attention_heads": 6,
        "mlp_dim": 1536,
        "global_attn_indexes": [3],
    }
    model = transformers.SamModel(transformers.SamConfig(vision_config=vision))
    chosen = torch.device("cuda" if device == "auto" and torch.cuda.is_available() else "cpu")
    return SamModels(model, transformers.SamImageProcessor(), chosen, torch.float32)


def scene(folder: Path, side: int, count: int) -> tuple[Path, Annotations]:
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (side // 16, side // 16, 3), dtype=np.uint8)
    path = folder / "scene.png"
    Image.fromarray(blocks.repeat(16, axis=0).repeat(16, axis=1)).save(path, compress_level=1)
    rows = rng.uniform([0, 0, 20, 10, -1.5], [side, side, 120, 60, 1.5], (count, 5)).tolist()
    objects = tuple(AnnotatedObject("a", "1", rbox_cxcywha=tuple(row)) for row in rows)
    return path, Annotations("scene.png", (side // 16 * 16, side // 16 * 16), objects)


def seconds_per_box(models: SamModels, path: Path, annotations: Annotations, batch: int) -> float:
    start = time.perf_counter()
    SamSegmenter(models, boxes_per_batch=batch).segment(path, annotations)
    return (time.perf_counter() - start) / len(annotations.objects)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, help="folder of the weights of SAM")
    parser.add_argument("--boxes", type=int, default=64)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    if arguments.weights is None:
        models = random_model(arguments.device)
    else:
        models = load_sam(arguments.weights, device=arguments.device)
    with tempfile.TemporaryDirectory() as folder:
        path, annotations = scene(Path(folder), arguments.side, arguments.boxes)
        one = Annotations("", annotations.size_hw, annotations.objects[:1])
        seconds_per_box(models, path, one, 1)  # warms up
        together, single = math.inf, math.inf
        for _ in range(2):  # the better of two, in turns: other programs disturb
            together = min(together, seconds_per_box(models, path, annotations, 64))
            single = min(single, seconds_per_box(models, path, annotations, 1))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        anew = [
            seconds_per_box(models, path, Annotations("", annotations.size_hw, (item,)), 1)
            for item in annotations.objects[:4]
        ]
    print(f"{arguments.boxes} boxes of {arguments.side} × {arguments.side} px on {models.device}")
    print(f"in batches          {together * 1e3:8.1f} ms per box, peak {peak:.2f} GB")
    print(f"one at a time       {single * 1e3:8.1f} ms, {single / together:.1f} times as long")
    print(
        f"embedded per box    {np.mean(anew) * 1e3:8.1f} ms, {np.mean(anew) / together:.1f} times"
    )


if __name__ == "__main__":
    main()
