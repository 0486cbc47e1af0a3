"""Random pairs of rotated boxes, the hard ones among them, for comparison with exact polygons."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def random_rboxes(
    count: int, scene_px: float, low_px: float, high_px: float, generator: torch.Generator
) -> Tensor:
    """Uniform centres, sides and angles (any, not only le90): (count, 5) float64."""
    unit = torch.rand(count, 5, generator=generator, dtype=torch.float64)
    angle = (unit[:, 4:] - 0.5) * 4 * math.pi
    sides = low_px + unit[:, 2:4] * (high_px - low_px)
    return torch.cat([unit[:, :2] * scene_px, sides, angle], dim=1)


def pair_families(count: int, seed: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Name → pairs (a, b), each about ``count`` / 13 pairs long, float64."""
    generator = torch.Generator().manual_seed(seed)
    each = count // 13 + 1

    def boxes(scene: float, low: float, high: float) -> Tensor:
        return random_rboxes(each, scene, low, high, generator)

    def unit(columns: int = 1) -> Tensor:
        return torch.rand(each, columns, generator=generator, dtype=torch.float64)

    a = boxes(60, 5, 60)
    turned, quarter, nested = a.clone(), a.clone(), a.clone()
    turned[:, 4] += math.pi * torch.randint(-3, 4, (each,), generator=generator)
    quarter[:, 4] += math.pi / 2
    quarter[:, 2:4] = a[:, [3, 2]]
    nested[:, 2:4] *= unit(2)
    needle_a, needle_b = boxes(30, 50, 500), boxes(30, 50, 500)
    needle_a[:, 3] = 10 ** -(3 * unit()[:, 0])
    needle_b[:, 3] = 10 ** -(3 * unit()[:, 0])
    nearly = a + torch.randn(each, 5, generator=generator, dtype=torch.float64) * 1e-7
    far = boxes(60, 5, 60)
    far_b = boxes(60, 5, 60)
    offset = 20000 * unit(2).round(decimals=1)
    far[:, :2] += offset
    far_b[:, :2] += offset
    huge, tiny = boxes(1000, 1000, 20000), boxes(1000, 1e-3, 1)
    upright_a, upright_b = boxes(20, 1, 20).round(), boxes(20, 1, 20).round()
    upright_a[:, 4] = math.pi / 2 * torch.randint(-2, 3, (each,), generator=generator)
    upright_b[:, 4] = math.pi / 2 * torch.randint(-2, 3, (each,), generator=generator)
    return {
        "any": (a, boxes(60, 5, 60)),
        "identical": (a, a.clone()),
        "turned by half turns": (a, turned),
        "other description": (a, quarter),
        "nested": (a, nested),
        "side by side": (a, _moved_along_w(a, a[:, 2])),
        "sharing an edge line": (a, _moved_along_w(a, a[:, 2] * unit()[:, 0])),
        "needles": (needle_a, needle_b),
        "nearly identical": (a, nearly),
        "upright on a grid": (upright_a, upright_b),
        "huge with tiny": (huge, tiny),
        "huge with huge": (huge, boxes(1000, 1000, 20000)),
        "far from the origin": (far, far_b),
    }


def _moved_along_w(rboxes: Tensor, distance: Tensor) -> Tensor:
    """The boxes moved in the direction of their w side."""
    moved = rboxes.clone()
    moved[:, 0] += distance * rboxes[:, 4].cos()
    moved[:, 1] += distance * rboxes[:, 4].sin()
    return moved
