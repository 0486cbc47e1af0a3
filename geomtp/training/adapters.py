"""Low-rank adapters (LoRA, Hu et al. 2021, arXiv 2106.09685) on an encoder, made by peft."""

from __future__ import annotations

import copy

from torch import nn

from geomtp.model import MultiTaskModel

_MARK = ".lora_"  # in the key of every weight of an adapter


def add_adapters(encoder: nn.Module, rank: int) -> int:
    """Freeze ``encoder``, with a trainable correction of ``rank`` on each of its linear layers.

    In an encoder of convolutions those of one pixel take their place: linear layers, cell by cell.
    A correction starts at zero and counts twice (alpha = 2 · rank). How many numbers are trained
    comes back.

    Raises ValueError for an encoder with neither, or when peft is missing.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise ValueError(
            "low-rank adapters need the package peft: pip install 'geomtp[lora]'"
        ) from None
    modules = dict(encoder.named_modules())
    names = [name for name, module in modules.items() if isinstance(module, nn.Linear)]
    names = names or [name for name, module in modules.items() if _is_pointwise(module)]
    if not names:
        raise ValueError(
            "low-rank adapters go on linear layers or convolutions of one pixel, and this encoder "
            "has neither; leave out lora_rank, or take another encoder"
        )
    inject_adapter_in_model(
        LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names, lora_dropout=0.0), encoder
    )
    return sum(p.numel() for p in encoder.parameters() if p.requires_grad)


def _is_pointwise(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.groups == 1


def merged(model: MultiTaskModel) -> MultiTaskModel:
    """The model with its adapters added to the weights, under their usual names.

    A copy; ``model`` itself where it has none.
    """
    if not any(_MARK in key for key in model.state_dict()):
        return model
    from peft.tuners.tuners_utils import BaseTunerLayer

    model = copy.deepcopy(model)
    adapted = [(n, m) for n, m in model.named_modules() if isinstance(m, BaseTunerLayer)]
    for name, layer in adapted:
        layer.merge()
        model.set_submodule(name, layer.get_base_layer())
    return model
