"""Any model of timm as encoder, hierarchical or plain, whose maps come in powers of two.

timm: https://github.com/huggingface/pytorch-image-models (Wightman 2019).
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import torch
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor, nn
from torch.func import functional_call

from geomtp.encoders.encoder import Encoder, check_channels, pad_to_multiple
from geomtp.encoders.timm_levels import STRIDES, LevelPlan, LevelsOfMaps, plan_levels
from geomtp.encoders.timm_models import (
    build_timm_model,
    drop_modules,
    layers_of_parameters,
    memory_format_of,
    pruned,
    recompute_activations,
    spared_parameters,
)
from geomtp.encoders.timm_weights import adapted_stem, renamed_by_timm, window_table
from geomtp.types import FeaturePyramid, SizeHW

SIZE_MULTIPLE = STRIDES[-1]

MISFIT = "its maps are"
"""How it is told that a model's maps do not have the strides that timm says."""


class TimmEncoder(Encoder):
    """A model of timm without what follows its last feature map, by the name that timm gives it.

    Models that halve their maps step by step give those of strides 4, 8, 16, 32; where one is
    missing, the next coarser map is brought to it by transposed convolutions. Plain vision
    transformers give the outputs of 4 evenly spread blocks, through the same small pyramid as
    ViT + RVSA. Patches of 14 px stand for 16 px: images are resized by 14/16 for them. Each level
    is normalised over its channels. The weights keep timm's names, so files of timm can be
    imported.

    - image_size: side (or height and width) of the images that position tables and windows are made
      for; other sizes work too. Models whose windows must divide the image (MaxViT, HaloNet) see it
      padded with zeros to multiples of ``image_size``; the few that are bound to one size (CoAtNet,
      BEiT, CaiT …) see it in tiles of ``image_size``
    - out_blocks: the four blocks (from 0) of a plain transformer that make the levels; the last
      one four times is ViTDet's pyramid
    - drop_path: probability of skipping a branch of the last block
    - activation_checkpointing: recompute blocks in the backward pass, to save memory
    - download: load timm's pretrained weights, from its cache or the network; random ones otherwise

    Raises ValueError when timm has no such model, when it has no such levels, or cannot take
    ``image_size`` or an option.
    """

    def __init__(
        self,
        *,
        model: str,
        image_size: int | SizeHW,
        in_channels: int = 3,
        out_blocks: tuple[int, ...] | None = None,
        drop_path: float = 0.0,
        activation_checkpointing: bool = False,
        download: bool = False,
    ) -> None:
        super().__init__()
        size_hw = (image_size, image_size) if isinstance(image_size, int) else image_size
        self.name = model
        self.in_channels = in_channels
        self.tile_hw = _rounded_up(size_hw)
        self.tiled = False
        self.multiple_hw = (SIZE_MULTIPLE, SIZE_MULTIPLE)
        built, plan = self._built(out_blocks, in_channels, drop_path, download)
        self.plan = plan
        self.out_channels = tuple(built.feature_info[i]["num_chs"] for i in plan.indices)
        self.strides = STRIDES
        whole = set(built.state_dict())
        wanted = sorted(set(plan.indices))
        self.indices = pruned(built, wanted)
        self._places = [wanted.index(index) for index in plan.indices]
        self.model = built
        self.memory_format = memory_format_of(built)
        self.pyramid = LevelsOfMaps(self.out_channels, plan.strides)
        self._choose_sizes()
        drop_modules(built, self._unused_parameters())
        self._pruned = whole - set(built.state_dict())
        if activation_checkpointing:
            recompute_activations(model, built)
        self._layers = layers_of_parameters(built, self.indices)
        self.num_layers = max(self._layers.values())

    def _built(
        self,
        out_blocks: tuple[int, ...] | None,
        in_channels: int,
        drop_path: float,
        download: bool,
    ) -> tuple[Any, LevelPlan]:
        """The model of timm and which of its maps are used."""

        def build(size_hw: SizeHW) -> Any:
            return build_timm_model(
                self.name,
                pretrained=download,
                in_chans=in_channels,
                img_size=size_hw,
                drop_path_rate=drop_path,
            )

        built = build(self.tile_hw)
        reductions = [info["reduction"] for info in built.feature_info]
        plan = plan_levels(self.name, reductions, out_blocks)
        if plan.scale != 1:  # its tables are for images of that size: known only now
            built = build(_scaled(self.tile_hw, plan.scale))
        return built, plan

    def forward(self, images: Tensor) -> FeaturePyramid:
        """Levels (B, C_i, ⌈H / stride⌉, ⌈W / stride⌉) of images (B, C, H, W).

        Raises ValueError for another number of channels.
        """
        check_channels(images, self.in_channels)
        height, width = images.shape[-2:]
        images = pad_to_multiple(images, self.multiple_hw).contiguous(
            memory_format=self.memory_format
        )
        maps = self._maps_by_tiles(images) if self.tiled else self._maps(images)
        levels = tuple(
            normalised(level[:, :, : -(-height // stride), : -(-width // stride)])
            for level, stride in zip(maps, STRIDES, strict=True)
        )
        return FeaturePyramid(levels, STRIDES)

    def _maps(self, images: Tensor) -> tuple[Tensor, ...]:
        if self.plan.scale != 1:
            size_hw = _scaled((images.shape[-2], images.shape[-1]), self.plan.scale)
            images = nn.functional.interpolate(images, size_hw, mode="bilinear", antialias=True)
        maps = self.model.forward_intermediates(
            images, indices=self.indices, intermediates_only=True
        )
        return self.pyramid([maps[place] for place in self._places])

    def _maps_by_tiles(self, images: Tensor) -> tuple[Tensor, ...]:
        """The maps of each tile, put together."""
        height, width = self.tile_hw
        rows, columns = images.shape[-2] // height, images.shape[-1] // width
        tiles = images.unflatten(2, (rows, height)).unflatten(4, (columns, width))
        # (B, C, rows, height, columns, width) to (B · rows · columns, C, height, width)
        tiles = tiles.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)
        levels = []
        for level in self._maps(tiles):
            split = level.unflatten(0, (-1, rows, columns)).permute(0, 3, 1, 4, 2, 5)
            levels.append(split.flatten(4, 5).flatten(2, 3))  # (B, C_i, rows · h, columns · w)
        return tuple(levels)

    def _choose_sizes(self) -> None:
        """Find out whether images of any size pass, those of multiples, or those of one size."""
        height, width = self.tile_hw
        if self._refusal((height + 32, width + 64)) is None:
            return
        self.multiple_hw = self.tile_hw
        if self._refusal((2 * height, 3 * width)) is None:
            return
        self.tiled = True
        if refusal := self._refusal(self.tile_hw):
            usual_hw = "×".join(map(str, self.model.pretrained_cfg["input_size"][1:]))
            own = "" if MISFIT in refusal else f"its own size, {usual_hw}, may do, or else "
            raise ValueError(
                f"timm's {self.name} cannot be an encoder for image_size {height}×{width} "
                f"({refusal}); {own}take another model"
            )

    @torch.no_grad()
    def _refusal(self, size_hw: SizeHW) -> str | None:
        """What goes wrong with images of this size."""
        try:
            levels = self._levels_without_values(size_hw, _without_values(self))
        except Exception as error:  # models stop at assertions, shapes, indices …
            return (str(error).splitlines() or [type(error).__name__])[0]
        found = [tuple(level.shape[1:]) for level in levels]
        expected = [
            (channels, size_hw[0] // stride, size_hw[1] // stride)
            for channels, stride in zip(self.out_channels, STRIDES, strict=True)
        ]
        return None if found == expected else f"{MISFIT} {found}, not {expected}"

    @torch.enable_grad()
    def _unused_parameters(self) -> set[str]:
        """Names of the model's parameters that no level depends on."""
        learnt = [name for name, p in self.named_parameters() if p.requires_grad]
        tensors = _without_values(self)
        leaves = [tensors[name].requires_grad_() for name in learnt]
        levels = self._levels_without_values(self.tile_hw, tensors)
        total = torch.stack([level.sum() for level in levels]).sum()
        gradients = torch.autograd.grad(total, leaves, allow_unused=True)
        pairs = zip(learnt, gradients, strict=True)
        return {name.removeprefix("model.") for name, gradient in pairs if gradient is None}

    def _levels_without_values(
        self, size_hw: SizeHW, tensors: dict[str, Tensor]
    ) -> tuple[Tensor, ...]:
        """The levels of an image of this size, tensors with shapes alone: they cost nothing."""
        was_training = self.training
        images = torch.empty(1, self.in_channels, *size_hw, device="meta")
        try:
            # eval: statistics of batches are not written
            pyramid = functional_call(self.eval(), tensors, (images,), tie_weights=False)
        finally:
            self.train(was_training)
        return pyramid.levels

    def layer_of(self, parameter_name: str) -> int:
        """The group that timm counts a parameter to, 0 the stem; one more for the pyramid."""
        return self._layers.get(parameter_name.removeprefix("model."), self.num_layers + 1)

    def official_keys(self) -> dict[str, str]:
        """Our state-dict keys and those of timm's files."""
        return {key: key.removeprefix("model.") for key in self.state_dict()}

    def official_ignored(self) -> dict[str, str]:
        """What timm's files hold for classification."""
        return dict.fromkeys(self._pruned, "behind the last feature map")

    def undecayed(self) -> set[str]:
        """What timm spares from weight decay: class tokens, tables of relative positions …"""
        return {f"model.{name}" for name in spared_parameters(self.model)}

    def renamed_official(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """``weights`` of a model's authors under the names of timm, as timm itself renames them."""
        return renamed_by_timm(self.model, weights)

    def fit_official(self, key: str, tensor: Tensor) -> Tensor:
        """``tensor`` for our input channels and image size: the stem, tables of positions."""
        if self._takes_image(key, tensor):
            return adapted_stem(tensor, self.get_parameter(key).shape[1], self.in_channels)
        if key == "model.pos_embed" and self.plan.plain and tensor.ndim == 3:
            return self._positions(tensor, self.get_parameter(key))
        if key.endswith("relative_position_bias_table"):
            window: Any = self.get_submodule(key.rpartition(".")[0]).window_size
            return window_table(tensor, self.get_parameter(key), window)
        return tensor

    def _takes_image(self, key: str, tensor: Tensor) -> bool:
        """Whether this is a convolution of the stem that differs in its input channels alone."""
        if tensor.ndim != 4 or self._layers.get(key.removeprefix("model.")) != 0:
            return False
        own = self.get_parameter(key).shape
        return (own[0], *own[2:]) == (tensor.shape[0], *tensor.shape[2:]) and (
            own[1] % self.in_channels == 0
        )

    def _positions(self, table: Tensor, own: Tensor) -> Tensor:
        """``table`` (1, prefix + square grid, D) for our grid; as it is where it is not square."""
        rows, columns = (side // self.plan.strides[0] for side in self.tile_hw)
        prefix = own.shape[1] - rows * columns
        cells = table.shape[1] - prefix
        if table.shape == own.shape or cells < 1 or math.isqrt(cells) ** 2 != cells:
            return table
        return resample_abs_pos_embed(table, [rows, columns], num_prefix_tokens=prefix)


def normalised(level: Tensor) -> Tensor:
    """``level`` (B, C, H, W) with mean 0 and variance 1 over the channels of each cell.

    Models of timm give levels of any scale (standard deviations from 0.1 to 11), and decoders begin
    with convolutions and rectifiers, which inputs too large for them kill at the first step. See
    docs/decisions/0005-levels-of-timm-are-normalised.md.
    """
    cells = level.permute(0, 2, 3, 1)  # (B, H, W, C): no copy where channels are last
    return nn.functional.layer_norm(cells, cells.shape[-1:]).permute(0, 3, 1, 2)


def _without_values(module: nn.Module) -> dict[str, Tensor]:
    """Every tensor of ``module`` by name, its shape alone; each place once, tied ones the same.

    A module in two places has one name here: swapped in twice, it would not be swapped back.
    """
    shapes: dict[int, Tensor] = {}
    named: dict[str, Tensor] = {}
    for path, part in module.named_modules():
        for name, tensor in (*part.named_parameters("", False), *part.named_buffers("", False)):
            shape = shapes.setdefault(id(tensor), tensor.detach().to("meta"))
            named[f"{path}.{name}".removeprefix(".")] = shape
    return named


def _scaled(size_hw: SizeHW, scale: Fraction) -> SizeHW:
    """A size that the model sees; whole, as scales are of 8ths or 16ths and sizes of 32nds."""
    return int(size_hw[0] * scale), int(size_hw[1] * scale)


def _rounded_up(size_hw: SizeHW) -> SizeHW:
    """``size_hw`` up to multiples of the coarsest stride."""
    height, width = (-(-side // SIZE_MULTIPLE) * SIZE_MULTIPLE for side in size_hw)
    return height, width
