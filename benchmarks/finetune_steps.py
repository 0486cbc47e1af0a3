"""Time and memory of a fine-tuning step of each task, at the size of a public recipe.

    OMP_NUM_THREADS=1 python -m benchmarks.finetune_steps [scene semantic …] [--batch 1] [--steps 1]

Model and size are the recipe's (``geomtp recipes``), the batch is not: a machine without GPU takes
one or two images; ``--checkpointing`` overrides the recipe's. A step is forward, backward and
AdamW, after one warm-up, on drawn images with ten objects each, in a process of its own, whose
highest resident size is the peak.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from geomtp.data.sources import PUBLIC
from geomtp.geometry import enclosing_boxes, regularise
from geomtp.model import build_model
from geomtp.recipes.filling import fill_values
from geomtp.training.configs import FineTune
from geomtp.training.finetune import fine_tune_model_config
from geomtp.types import Batch, Targets

RECIPES = {
    "scene": "eurosat",
    "semantic": "spacenet_v1",
    "change": "levir_cd",
    "horizontal": "dior",
    "rotated": "dior_r",
}
OBJECTS = 10


def drawn_batch(config: FineTune, images: int, channels: int, classes: int, name: str) -> Batch:
    side = config.image_size
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(2, images, channels, side, side, generator=generator)
    targets = tuple(_drawn_targets(config.task, side, classes, generator) for _ in range(images))
    after = pixels[1] if config.task == "change" else None
    return Batch(pixels[0], targets, ((side, side),) * images, name, after)


def _drawn_targets(task: str, side: int, classes: int, generator: torch.Generator) -> Targets:
    if task == "scene":
        return Targets(scene_class=1)
    if task in ("semantic", "change"):
        coarse = torch.randint(0, 2, (side // 16, side // 16), generator=generator)
        values = coarse.repeat_interleave(16, 0).repeat_interleave(16, 1).to(torch.uint8)
        return Targets(**{task: values})
    low = torch.tensor([48.0, 48.0, 20.0, 12.0, -1.5])
    high = torch.tensor([side - 48.0, side - 48.0, 96.0, 48.0, 1.5])
    rboxes = regularise(low + torch.rand(OBJECTS, 5, generator=generator) * (high - low))
    labels = torch.randint(0, classes, (OBJECTS,), generator=generator)
    if task == "rotated":
        return Targets(rboxes=rboxes, rbox_labels=labels)
    return Targets(boxes=enclosing_boxes(rboxes).clamp(0, side), box_labels=labels)


def measure(
    task: str, encoder: str, images: int, steps: int, checkpointing: bool | None
) -> dict[str, Any]:
    torch.manual_seed(0)
    recipe = RECIPES[task]
    values: dict[str, Any] = {"encoder": encoder, "data": Path("none")}
    if checkpointing is not None:
        values["activation_checkpointing"] = checkpointing
    config = fill_values(FineTune, values, recipe, "the benchmark")
    source = PUBLIC[recipe]
    mean = (0.0,) * (config.in_channels or 3)
    store: Any = SimpleNamespace(source=recipe, classes=source.classes, mean=mean, std=mean)
    model = build_model(fine_tune_model_config(config, store)).train()
    (name,) = model.config.sources
    batch = drawn_batch(config, images, len(mean), len(source.classes), name)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    for parameter in model.parameters():  # AdamW's state belongs to the peak of the first step, too
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    cpu_s = []
    for _ in range(steps + 1):
        began = time.process_time()
        model.total_loss({name: batch})[0].backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        cpu_s.append(time.process_time() - began)
    return {
        "task": task,
        "recipe": recipe,
        "size_px": config.image_size,
        "images": images,
        "checkpointing": config.activation_checkpointing,
        "cpu_s": statistics.median(cpu_s[bool(steps) :]),
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "weights_gradients_adam_gb": 16 * sum(p.numel() for p in model.parameters()) / 2**30,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="*", help=", ".join(RECIPES))
    parser.add_argument("--encoder", default="vit_b_rvsa")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument(
        "--steps", type=int, default=1, help="timed steps after one warm-up; 0: it alone"
    )
    parser.add_argument(
        "--checkpointing",
        choices=("true", "false"),
        help="recompute activations instead of keeping them; by default as the recipe says",
    )
    parser.add_argument("--here", action="store_true", help="(for the processes of the benchmark)")
    arguments = parser.parse_args()
    if arguments.here:
        (task,) = arguments.tasks
        asked = arguments.checkpointing and arguments.checkpointing == "true"
        row = measure(task, arguments.encoder, arguments.batch, arguments.steps, asked)
        print(json.dumps(row))
        return
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {arguments.encoder}")
    rest = ["--encoder", arguments.encoder, "--batch", arguments.batch, "--steps", arguments.steps]
    if arguments.checkpointing:
        rest += ["--checkpointing", arguments.checkpointing]
    for task in arguments.tasks or RECIPES:
        words = [sys.executable, "-m", "benchmarks.finetune_steps", task, *rest, "--here"]
        done = subprocess.run([*map(str, words)], check=True, stdout=subprocess.PIPE, text=True)
        row = json.loads(done.stdout.splitlines()[-1])
        print(
            f"{task:10} {row['recipe']:12} {row['images']} x {row['size_px']} px  "
            f"{row['cpu_s']:7.1f} s of processor  peak {row['peak_gb']:.2f} GB (weights, gradients "
            f"and AdamW {row['weights_gradients_adam_gb']:.2f})"
            + ("  checkpointing" if row["checkpointing"] else ""),
            flush=True,
        )


if __name__ == "__main__":
    main()
