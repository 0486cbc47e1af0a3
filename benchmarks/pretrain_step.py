"""Time and memory of one multi-task pretraining step: forward, backward, AdamW.

    python -m benchmarks.pretrain_step --encoder vit_b_rvsa --size 448

Three sources with one image each, five objects per image, batch norm on running statistics.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import time

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from geomtp.geometry import enclosing_boxes, masks_from_rboxes, regularise
from geomtp.model import ModelConfig, MultiTaskModel, SourceConfig, build_model
from geomtp.types import Batch, ClassMap, Targets

CLASSES = {"sota": 18, "sior": 20, "fast": 37}
OBJECTS = 5


def build(encoder: str, size_px: int, checkpointing: bool) -> MultiTaskModel:
    sources = {
        name: SourceConfig(ClassMap(tuple(f"class {i}" for i in range(count))))
        for name, count in CLASSES.items()
    }
    options = {"drop_path": 0.1, "activation_checkpointing": checkpointing}
    config = ModelConfig(
        encoder=encoder, image_size=size_px, sources=sources, encoder_options=options
    )
    model = build_model(config).train()
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
    return model


def draw_batches(size_px: int) -> dict[str, Batch]:
    generator = torch.Generator().manual_seed(0)
    batches = {}
    for name, count in CLASSES.items():
        rand = torch.rand(OBJECTS, 5, generator=generator)
        centre = (rand[:, :2] * 0.8 + 0.1) * size_px
        rboxes = torch.cat([centre, rand[:, 2:4] * 60 + 12, (rand[:, 4:] - 0.5) * 3], dim=1)
        rboxes = regularise(rboxes)
        labels = torch.randint(0, count, (OBJECTS,), generator=generator)
        masks = masks_from_rboxes(rboxes, (size_px, size_px))
        semantic = torch.zeros(size_px, size_px, dtype=torch.uint8)
        for mask, label in zip(masks, labels, strict=True):
            semantic[mask] = int(label) + 1
        target = Targets(
            boxes=enclosing_boxes(rboxes).clamp(0, size_px),
            box_labels=labels,
            masks=masks,
            rboxes=rboxes,
            rbox_labels=labels,
            semantic=semantic,
        )
        images = torch.randn(1, 3, size_px, size_px, generator=generator)
        batches[name] = Batch(images, (target,), ((size_px, size_px),), name)
    return batches


def step(
    model: MultiTaskModel,
    optimiser: torch.optim.Optimizer,
    batches: dict[str, Batch],
    bf16: bool,
) -> float:
    autocast = torch.autocast("cpu", torch.bfloat16) if bf16 else contextlib.nullcontext()
    with autocast:
        total, _ = model.total_loss(batches)
    total.backward()
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return float(total.detach())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", default="vit_b_rvsa")
    parser.add_argument("--size", type=int, default=448)
    parser.add_argument("--steps", type=int, default=3, help="timed steps, after one warm-up")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--profile", action="store_true", help="print the dearest operators")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    model = build(arguments.encoder, arguments.size, arguments.checkpointing)
    optimiser = torch.optim.AdamW(model.parameters(), lr=6e-5, weight_decay=0.05, fused=True)
    batches = draw_batches(arguments.size)
    step(model, optimiser, batches, arguments.bf16)
    cpu, wall = [], []
    for _ in range(arguments.steps):
        began = time.perf_counter(), time.process_time()
        step(model, optimiser, batches, arguments.bf16)
        wall.append(time.perf_counter() - began[0])
        cpu.append(time.process_time() - began[1])
    weights = sum(p.numel() for p in model.parameters()) * 4
    result = {
        "encoder": arguments.encoder,
        "size_px": arguments.size,
        "bf16": arguments.bf16,
        "checkpointing": arguments.checkpointing,
        "threads": torch.get_num_threads(),
        "cpu_s_per_step": round(sorted(cpu)[len(cpu) // 2], 2),
        "wall_s_per_step": round(sorted(wall)[len(wall) // 2], 2),
        "peak_memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2, 2),
        "weights_gradients_adam_gb": round(4 * weights / 1024**3, 2),
    }
    print(json.dumps(result))
    if arguments.profile:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            step(model, optimiser, batches, arguments.bf16)
        print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=25))


if __name__ == "__main__":
    main()
