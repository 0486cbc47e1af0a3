"""A decoder trained before, taken over by a new model: its trunk, not its classifiers."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from geomtp.checkpoints import read_weights
from geomtp.model import ModelConfig, MultiTaskModel

WIDTHS = ("semantic_channels", "detector_channels", "fc_channels", "change_channels")


@dataclass(frozen=True)
class ReuseReport:
    """What of a decoder was taken over.

    - used: keys of the trunk that were; reshaped: those whose shape is another, with both
    - missing: keys of the new trunk that the file does not hold
    - new: the parts that start anew
    """

    used: tuple[str, ...]
    reshaped: tuple[str, ...]
    missing: tuple[str, ...]
    new: tuple[str, ...]

    def __str__(self) -> str:
        total = len(self.used) + len(self.reshaped) + len(self.missing)
        lines = [f"decoder reused: {len(self.used)} of the {total} tensors of its trunk"]
        lines += [f"  of another shape: {text}" for text in self.reshaped]
        lines += [f"  not in the file: {key}" for key in self.missing]
        lines.append(f"  starting anew: {', '.join(self.new)}")
        return "\n".join(lines)


@dataclass(frozen=True)
class TrainedDecoder:
    """The decoder of one task in a model file of ours.

    - trunk: its tensors, by key below the decoder (``trunk.…``)
    - config: of the model it comes from
    """

    task: str
    trunk: dict[str, Tensor]
    config: ModelConfig

    @staticmethod
    def read(path: str | Path, task: str) -> TrainedDecoder:
        """The decoder in ``path``.

        Raises FileNotFoundError, or ValueError when the file is no whole model of ours or has no
        trunk for the task.
        """
        weights, info = read_weights(path)
        if info.get("kind") != "model":
            raise ValueError(
                f"{path} holds no whole model of ours, so no decoder to reuse (kind: "
                f"{info.get('kind', 'unknown')}): give the model.safetensors of a run"
            )
        own = f"decoders.{task}."
        trunk = {
            key.removeprefix(own): tensor
            for key, tensor in weights.items()
            if key.startswith(f"{own}trunk.")
        }
        if not trunk:
            known = sorted({key.split(".")[1] for key in weights if key.startswith("decoders.")})
            raise ValueError(
                f"{path} holds no trunk of a decoder for {task!r} (its decoders: "
                f"{', '.join(known)}): leave out --reuse-decoder"
            )
        return TrainedDecoder(task, trunk, ModelConfig.from_json(info["model"]))

    def widths_into(self, config: ModelConfig) -> ModelConfig:
        """``config`` with the widths of this decoder, which its trunk needs."""
        return dataclasses.replace(config, **{n: getattr(self.config, n) for n in WIDTHS})

    def load_into(self, model: MultiTaskModel) -> ReuseReport:
        """Load what fits into the decoder of ``model``."""
        decoder = model.decoders[self.task]
        own = {k: v for k, v in decoder.state_dict().items() if k.startswith("trunk.")}
        used = {k: v for k, v in self.trunk.items() if k in own and v.shape == own[k].shape}
        decoder.load_state_dict(used, strict=False)
        return ReuseReport(
            used=tuple(used),
            reshaped=tuple(
                f"{k} {tuple(v.shape)}, here {tuple(own[k].shape)}"
                for k, v in self.trunk.items()
                if k in own and k not in used
            ),
            missing=tuple(k for k in own if k not in self.trunk),
            new=tuple(f"the classifier of {source}" for source in decoder.classifiers),  # type: ignore[union-attr]
        )
