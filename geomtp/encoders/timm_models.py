"""Asking timm for models: by name, for any image size, with their feature maps and layers."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Callable, Iterable
from typing import Any, Protocol, runtime_checkable

import timm
import torch
from timm.models import group_parameters
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from geomtp.types import SizeHW

ONEDNN_BLOCK = 16
"""Channels that oneDNN computes together with 512-bit registers."""


@runtime_checkable
class GroupsParameters(Protocol):
    """A model of timm that tells the layers of its parameters; few do not."""

    def group_matcher(self, coarse: bool = False) -> dict[str, Any] | Callable[[str], Any]:
        """Patterns of parameter names, stem first."""
        ...


@runtime_checkable
class SparesParameters(Protocol):
    """A model of timm that tells which parameters weight decay should leave alone."""

    def no_weight_decay(self) -> Iterable[str]:
        """Names or patterns of names."""
        ...


@runtime_checkable
class Prunes(Protocol):
    """A model of timm that cuts off what follows a feature map; older ones cannot all do it."""

    def prune_intermediate_layers(
        self, indices: list[int], prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """The indices of the same maps afterwards."""
        ...


def is_timm_model(name: str) -> bool:
    """Whether timm knows a model of this name, with or without the tag of its weights."""
    return bool(timm.is_model(name))


def close_timm_models(name: str) -> list[str]:
    """The names of timm nearest to ``name``, best first; none where nothing is near."""
    known = timm.list_models()
    begun = [model for model in known if model.startswith(name)]
    near = [*begun, *difflib.get_close_matches(name, known, n=5)]
    return list(dict.fromkeys(near))[:5]


def build_timm_model(model: str, *, pretrained: bool, img_size: SizeHW, **options: Any) -> Any:
    """The model, made for images of all sizes where that is possible.

    Arguments that a model does not know are left out: ``img_size`` always, others where ``options``
    holds the usual value. Raises ValueError.
    """
    if not is_timm_model(model):
        near = ", ".join(close_timm_models(model)) or "none is near"
        raise ValueError(f"timm {timm.__version__} has no model {model!r}; near it: {near}")
    optional = dict(options)
    try:
        card = timm.get_pretrained_cfg(model)
        if card is not None and card.fixed_input_size:
            optional |= {"img_size": img_size, "dynamic_img_size": True, "strict_img_size": False}
        while True:
            try:
                built = timm.create_model(model, pretrained=pretrained, **optional)
                break
            except TypeError as error:  # each model names the arguments that it does not take
                refused = [name for name in optional if f"'{name}'" in str(error)]
                if not refused or "unexpected keyword" not in str(error):
                    raise
                for name in refused:
                    del optional[name]
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        why = str(error) or f"{type(error).__name__}, without a word of timm"
        raise ValueError(f"timm cannot build {model} with {optional}: {why}") from error
    for name, default in (("drop_path_rate", 0.0), ("in_chans", 3)):
        if name not in optional and options[name] != default:
            raise ValueError(f"timm's {model} has no {name}; leave it at {default}")
    return built


def pruned(built: Any, indices: list[int]) -> list[int]:
    """Cut off what follows the last of these feature maps; their indices afterwards."""
    if isinstance(built, Prunes):
        return list(built.prune_intermediate_layers(indices, prune_norm=True, prune_head=True))
    return indices


def drop_modules(built: nn.Module, unused: set[str]) -> None:
    """Take modules out of ``built`` all of whose parameters are named in ``unused``.

    An unused parameter beside used ones stays, and is frozen.
    """
    for name, module in list(built.named_modules()):
        held = {f"{name}.{key}" for key, _ in module.named_parameters()}
        if held and held <= unused:
            built.set_submodule(name, nn.Identity())
            unused = unused - held
    for name in unused:
        built.get_parameter(name).requires_grad_(False)


def recompute_activations(model: str, built: Any) -> None:
    """Let ``built`` recompute its blocks in the backward pass. Raises ValueError if it cannot."""
    try:
        built.set_grad_checkpointing(True)
    except (AssertionError, AttributeError) as error:
        raise ValueError(
            f"timm's {model} cannot recompute its activations; leave activation_checkpointing off"
        ) from error
    for module in built.modules():
        if isinstance(module, _BatchNorm):
            CountsOnce(module)


class CountsOnce:
    """Keeps a batch norm from counting a batch again when it is recomputed in the backward pass.

    Its running statistics would otherwise move twice as fast with recomputation as without.
    """

    def __init__(self, norm: _BatchNorm) -> None:
        self.momentum: list[float | None] = []  # of the norm, while it is recomputed
        norm.register_forward_pre_hook(self._before)
        # always: recomputation stops with an exception as soon as it has what it needs
        norm.register_forward_hook(self._after, always_call=True)

    def _before(self, norm: nn.Module, _: Any) -> None:
        if isinstance(norm, _BatchNorm) and norm.training and _in_backward():
            self.momentum.append(norm.momentum)
            norm.momentum = 0.0
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked.sub_(1)

    def _after(self, norm: nn.Module, *_: Any) -> None:
        if isinstance(norm, _BatchNorm) and self.momentum:
            norm.momentum = self.momentum.pop()


def _in_backward() -> bool:
    """Whether autograd runs now; torch's own checkpointing asks the same way."""
    return torch._C._current_graph_task_id() != -1


def memory_format_of(built: nn.Module) -> torch.memory_format:
    """The order of axes in memory that ``built`` computes fastest in, and safely, on CPUs.

    Channels last: convolutions, depthwise ones above all, take half the time so. But the gradient
    of a strided 1×1 convolution of few channels then writes past its workspace in oneDNN
    (uxlfoundation/oneDNN issue 6035) and corrupts memory: stems of FastViT, MobileOne and RepVGG.
    """
    convolutions = (module for module in built.modules() if isinstance(module, nn.Conv2d))
    unsafe = any(
        max(layer.kernel_size) == 1 < max(layer.stride)
        and layer.in_channels // layer.groups < ONEDNN_BLOCK
        for layer in convolutions
    )
    return torch.contiguous_format if unsafe else torch.channels_last


def layers_of_parameters(built: Any, indices: list[int]) -> dict[str, int]:
    """Parameter name → layer, 0 the stem: by timm's own groups, else one layer per feature map."""
    groups: Any = built.group_matcher() if isinstance(built, GroupsParameters) else None
    if groups is not None:
        return group_parameters(built, groups, reverse=True)
    modules = [built.feature_info[index]["module"] for index in indices]
    layers, layer = {}, 0
    for name, _ in built.named_parameters():
        inside = [i + 1 for i, module in enumerate(modules) if name.startswith(f"{module}.")]
        layer = max([layer, *inside])
        layers[name] = layer
    return layers


def spared_parameters(built: nn.Module) -> set[str]:
    """The parameters that timm leaves out of weight decay by name."""
    patterns = list(built.no_weight_decay()) if isinstance(built, SparesParameters) else []
    return {
        name
        for name, _ in built.named_parameters()
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    }
