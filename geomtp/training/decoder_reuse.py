"""A decoder trained before, taken over by a new model: its trunk, not its classifiers."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from geomtp.checkpoints import read_weights
from geomtp.model import ModelConfig, MultiTaskModel

DONORS = {
    "instance": ("instance", "horizontal", "rotated"),
    "horizontal": ("horizontal", "instance", "rotated"),
    "rotated": ("rotated", "instance", "horizontal"),
}
"""Whose trunk a detector takes, the best first; other tasks take their own alone."""

WIDTHS = ("semantic_channels", "detector_channels", "fc_channels", "change_channels")


@dataclass(frozen=True)
class ReuseReport:
    """What of a decoder was taken over.

    - donor: the task that the decoder was trained on
    - used: keys of the trunk that were; reshaped: those whose shape is another, with both
    - missing: keys of the new trunk that the file does not hold
    - new: the parts that start anew
    """

    donor: str
    used: tuple[str, ...]
    reshaped: tuple[str, ...]
    missing: tuple[str, ...]
    new: tuple[str, ...]

    def __str__(self) -> str:
        total = len(self.used) + len(self.reshaped) + len(self.missing)
        count = f"{len(self.used)} of the {total} tensors of its trunk"
        lines = [f"decoder reused: {count}, trained on {self.donor!r}"]
        lines += [f"  of another shape: {text}" for text in self.reshaped]
        lines += [f"  not in the file: {key}" for key in self.missing]
        lines.append(f"  starting anew: {', '.join(self.new)}")
        return "\n".join(lines)


@dataclass(frozen=True)
class TrainedDecoder:
    """A decoder in a model file of ours that can serve a task.

    - task: the one it is to serve; donor: the one it was trained on
    - trunk: its tensors, by key below the decoder (``trunk.…``)
    - config: of the model it comes from
    """

    task: str
    donor: str
    trunk: dict[str, Tensor]
    config: ModelConfig

    @staticmethod
    def read(path: str | Path, task: str) -> TrainedDecoder:
        """The decoder of ``task`` in ``path``, or else of the first of its ``DONORS``.

        Of the folder of a run its ``model.safetensors`` is taken.

        Raises FileNotFoundError, or ValueError when the file is no whole model of ours or has no
        trunk for the task.
        """
        path = Path(path)
        if path.is_dir():
            path = path / "model.safetensors"
        weights, info = read_weights(path)
        if info.get("kind") != "model":
            raise ValueError(
                f"{path} holds no whole model of ours, so no decoder to reuse (kind: "
                f"{info.get('kind', 'unknown')}): give the model.safetensors of a run"
            )
        config = ModelConfig.from_json(info["model"])
        for donor in DONORS.get(task, (task,)):
            own = f"decoders.{donor}."
            trunk = {
                key.removeprefix(own): tensor
                for key, tensor in weights.items()
                if key.startswith(f"{own}trunk.")
            }
            if trunk:
                return TrainedDecoder(task, donor, trunk, config)
        known = sorted({key.split(".")[1] for key in weights if key.startswith("decoders.")})
        raise ValueError(
            f"{path} holds no trunk of a decoder for {task!r} (its decoders: "
            f"{', '.join(known)}): leave out --reuse-decoder"
        )

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
            donor=self.donor,
            used=tuple(used),
            reshaped=tuple(
                f"{k} {tuple(v.shape)}, here {tuple(own[k].shape)}"
                for k, v in self.trunk.items()
                if k in own and k not in used
            ),
            missing=tuple(k for k in own if k not in self.trunk),
            new=tuple(f"the classifier of {source}" for source in decoder.classifiers),  # type: ignore[union-attr]
        )
