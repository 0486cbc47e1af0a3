"""Time and memory of the deformable sum of DCNv3 beside other ways to write it in plain torch.

    OMP_NUM_THREADS=1 python -m benchmarks.dcnv3

By default the shapes of InternImage-XL's first stage at 224 px. All ways take turns in one run;
each figure is a median, of CPU time but for "wall". Memory is the highest sum of what torch
allocated during forward and backward, gradients included, above what was there before; and, in a
process of its own for each way, the growth of the highest resident size (Linux alone tells it).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import deform_conv2d

from geomtp.encoders.dcnv3 import POINTS, deformable_sum
from tests.encoders.dcnv3_twins import grid_sample_sum

Tensors = tuple[Tensor, Tensor, Tensor]


def point_by_point(
    value: Tensor, offset: Tensor, mask: Tensor, *, groups: int, offset_scale: float
) -> Tensor:
    """One ``grid_sample`` for each of the nine points."""
    batch, height, width, channels = value.shape
    maps = value.unflatten(-1, (groups, -1)).permute(0, 3, 4, 1, 2).flatten(0, 1)
    places = offset.unflatten(-1, (groups, POINTS, 2)).permute(0, 3, 4, 1, 2, 5).flatten(0, 1)
    weights = mask.unflatten(-1, (groups, POINTS)).permute(0, 3, 4, 1, 2).flatten(0, 1)
    pixel = torch.stack(
        torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy"), dim=-1
    )
    total = torch.zeros_like(maps)
    for point in range(POINTS):
        home = torch.tensor([point // 3 - 1.0, point % 3 - 1.0])
        place = pixel + offset_scale * (home + places[:, point])
        grid = (2 * place + 1) / torch.tensor([width, height]) - 1
        total = total + F.grid_sample(maps, grid, align_corners=False) * weights[:, point, None]
    return total.view(batch, channels, height, width).permute(0, 2, 3, 1)


def deformable_convolution(
    value: Tensor, offset: Tensor, mask: Tensor, *, groups: int, offset_scale: float
) -> Tensor:
    """The modulated deformable convolution of torchvision, its weights ones, channel by channel."""
    channels = value.shape[-1]
    by_row = [3 * column + row for row in range(3) for column in range(3)]
    places = offset.unflatten(-1, (groups, POINTS, 2)).permute(0, 3, 4, 5, 1, 2)
    places = places.flip(3)[:, :, by_row] * offset_scale  # (B, groups, point, y and x, H, W)
    weights = mask.unflatten(-1, (groups, POINTS)).permute(0, 3, 4, 1, 2)[:, :, by_row]
    return deform_conv2d(
        value.permute(0, 3, 1, 2).contiguous(),
        places.flatten(1, 3).contiguous(),
        torch.ones(channels, 1, 3, 3),
        padding=int(offset_scale),
        dilation=int(offset_scale),
        mask=weights.flatten(1, 2).contiguous(),
    ).permute(0, 2, 3, 1)


def gathered(
    value: Tensor, offset: Tensor, mask: Tensor, *, groups: int, offset_scale: float
) -> Tensor:
    """Four gathers of rows, one for each neighbour, under autograd."""
    batch, height, width, channels = value.shape
    axis = torch.arange(3) - 1
    point = torch.cartesian_prod(axis, axis)
    places = offset.unflatten(-1, (groups, POINTS, 2))
    x = torch.arange(width).view(-1, 1, 1) + offset_scale * (point[:, 0] + places[..., 0])
    y = torch.arange(height).view(-1, 1, 1, 1) + offset_scale * (point[:, 1] + places[..., 1])
    table = value.reshape(-1, channels // groups)
    image = torch.arange(batch).view(-1, 1, 1, 1, 1)
    group = torch.arange(groups).view(-1, 1)
    total = torch.zeros(1)
    for down in (0, 1):
        for right in (0, 1):
            column, row = x.detach().floor() + right, y.detach().floor() + down
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            weight = (1 - (x - column).abs()) * (1 - (y - row).abs()) * inside
            column, row = column.clamp(0, width - 1).long(), row.clamp(0, height - 1).long()
            index = ((image * height + row) * width + column) * groups + group
            weight = weight * mask.unflatten(-1, (groups, POINTS))
            total = total + (table[index] * weight[..., None]).sum(-2)
    return total.flatten(-2)


WAYS: dict[str, Callable[..., Tensor]] = {
    "one grid_sample": grid_sample_sum,
    "grid_sample by point": point_by_point,
    "gather by neighbour": gathered,
    "deform_conv2d": deformable_convolution,
    "bags (ours)": deformable_sum,
}


def draw(size: int, width: int, groups: int, batch: int) -> Tensors:
    generator = torch.Generator().manual_seed(0)
    places = (batch, size, size)
    value = torch.randn(*places, width, generator=generator)
    offset = 0.7 * torch.randn(*places, groups * POINTS * 2, generator=generator)
    logits = torch.randn(*places, groups, POINTS, generator=generator)
    return value, offset, logits.softmax(-1).flatten(-2)


def step(
    way: Callable[..., Tensor], tensors: Tensors, groups: int
) -> tuple[float, float, list[Tensor]]:
    """CPU seconds forward and backward, and the result with its gradients."""
    leaves = [tensor.detach().requires_grad_() for tensor in tensors]
    began = time.process_time()
    out = way(*leaves, groups=groups, offset_scale=2.0)
    middle = time.process_time()
    out.backward(tensors[0])
    ended = time.process_time()
    return middle - began, ended - middle, [out.detach(), *(leaf.grad for leaf in leaves)]


def allocated_mb(way: Callable[..., Tensor], tensors: Tensors, groups: int) -> float:
    """The highest sum of torch's allocations during one step, in MB."""
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        step(way, tensors, groups)
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = highest = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        highest = max(highest, now)
    return highest / 1e6


def resident_mb(name: str, arguments: argparse.Namespace) -> float:
    """The growth of the highest resident size in a step, in a process of its own."""
    shapes = [f"--{k}={getattr(arguments, k)}" for k in ("size", "width", "groups", "batch")]
    command = [sys.executable, "-m", "benchmarks.dcnv3", "--resident", name, *shapes]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def print_resident_growth(way: Callable[..., Tensor], tensors: Tensors, groups: int) -> None:
    step(way, draw(8, 2 * groups, groups, 1), groups)  # libraries are loaded
    Path("/proc/self/clear_refs").write_text("5")  # forget the highest size so far
    before = kilobytes("VmRSS")
    step(way, tensors, groups)
    print((kilobytes("VmHWM") - before) * 1024 / 1e6)


def kilobytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=56)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--groups", type=int, default=12)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--resident", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    groups = arguments.groups
    tensors = draw(arguments.size, arguments.width, groups, arguments.batch)
    if arguments.resident:
        print_resident_growth(WAYS[arguments.resident], tensors, groups)
        return
    times: dict[str, list[tuple[float, float, float]]] = {name: [] for name in WAYS}
    reference = step(grid_sample_sum, tensors, groups)[2]
    for name, way in WAYS.items():
        for have, want in zip(step(way, tensors, groups)[2], reference, strict=True):
            assert float((have - want).norm() / want.norm()) < 1e-3, name
    for _ in range(arguments.rounds):
        for name, way in WAYS.items():
            began = time.perf_counter()
            forward, backward, _ = step(way, tensors, groups)
            times[name].append((forward, backward, time.perf_counter() - began))
    print(
        f"{arguments.size} × {arguments.size} cells, {arguments.width} channels, {groups} groups,"
    )
    print(
        f"batch {arguments.batch}, {torch.get_num_threads()} threads; medians of {arguments.rounds}"
    )
    print(f"{'':22}{'forward':>9}{'backward':>9}{'both':>9}{'wall':>9}  ms, "
          f"{'allocated':>9}{'resident':>9} MB")  # fmt: skip
    for name, way in WAYS.items():
        forward, backward = (sorted(t[i] for t in times[name]) for i in (0, 1))
        both = sorted(t[0] + t[1] for t in times[name])
        wall = sorted(t[2] for t in times[name])
        half = arguments.rounds // 2
        columns = "".join(f"{1000 * t[half]:9.1f}" for t in (forward, backward, both, wall))
        memory = f"{allocated_mb(way, tensors, groups):9.1f}{resident_mb(name, arguments):9.1f}"
        print(f"{name:22}{columns}      {memory}")


if __name__ == "__main__":
    main()
