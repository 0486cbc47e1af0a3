"""Reading the golden reference cases in ``tests/golden`` (json + npz + deterministic weights)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.golden import fill

FOLDER = Path(__file__).parent / "golden"


@dataclass(frozen=True)
class GoldenCase:
    """One case: its description, its stored arrays, and what can be generated from them."""

    name: str
    info: dict[str, Any]
    arrays: dict[str, np.ndarray]

    @staticmethod
    def read(name: str) -> GoldenCase:
        info = json.loads((FOLDER / f"{name}.json").read_text())
        npz = FOLDER / f"{name}.npz"
        arrays = dict(np.load(npz)) if npz.exists() else {}
        return GoldenCase(name, info, arrays)

    def tensor(self, name: str) -> Tensor:
        """A tensor stored whole, packed in bits, or generated from its formula."""
        meta = self.info["tensors"].get(name, {})
        shape = meta.get("shape")
        if name in self.arrays:
            array = self.arrays[name]
            if name.endswith("_packed"):
                array = np.unpackbits(array)[: int(np.prod(shape))].reshape(shape)
            return torch.from_numpy(array)
        if "generate" in meta:
            formula = meta["generate"]
            names = {"fill": fill, "float32": np.float32}
            array = np.asarray(eval(formula, {"__builtins__": {}}, names))
            first = meta["first8"]
            np.testing.assert_allclose(array.reshape(-1)[: len(first)], first, rtol=1e-6)
            return torch.from_numpy(array)
        raise KeyError(f"{self.name} holds no whole tensor {name!r}")

    def compare(self, name: str, value: Tensor, std_fraction: float = 2e-4) -> None:
        """Assert that ``value`` lies within ``std_fraction`` · std of the stored tensor."""
        meta = self.info["tensors"][name]
        value = value.detach().cpu()
        assert list(value.shape) == meta["shape"], (name, tuple(value.shape), meta["shape"])
        have, want = self._pair(name, value)
        worst = float((have - want).abs().max()) if want.numel() else 0.0
        bound = std_fraction * max(meta["std"], 1e-12)
        assert worst <= bound, f"{name}: off by {worst:.3g}, allowed {bound:.3g}"

    def compare_gradient(self, name: str, value: Tensor, l2_fraction: float = 1e-3) -> None:
        """Assert that the l2 distance to the stored gradient is at most this fraction of its l2."""
        assert list(value.shape) == self.info["tensors"][name]["shape"], name
        have, want = self._pair(name, value.detach().cpu())
        error = float((have - want).norm() / want.norm().clamp(min=1e-12))
        assert error <= l2_fraction, f"{name}: relative l2 error {error:.3g}"

    def _pair(self, name: str, value: Tensor) -> tuple[Tensor, Tensor]:
        if f"{name}__idx" in self.arrays:
            index = torch.from_numpy(self.arrays[f"{name}__idx"]).long()
            want = torch.from_numpy(self.arrays[f"{name}__val"])
            return value.reshape(-1)[index].double(), want.double()
        return value.double(), self.tensor(name).double()

    def scalar(self, name: str) -> float:
        return float(self.info["scalars"][name])

    def weights(self, keys: dict[str, Any] | None = None, prefix: str = "") -> dict[str, Tensor]:
        """Official key → filled tensor, for ``keys`` (or the case's own), multipliers applied."""
        shapes = keys or self.info["keys"]
        filled = fill.fill_all(shapes, self.info["salt"], prefix)
        for key, factor in self.info.get("config", {}).get("weight_multipliers", {}).items():
            filled[key] = filled[key] * np.float32(factor)
        return {key: torch.from_numpy(array) for key, array in filled.items()}
