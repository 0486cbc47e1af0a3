"""Segment Anything models of ``transformers``: loading, embedding a picture, decoding prompts."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor

from geomtp.devices import computing_device
from geomtp.labels.segmenters.prompts import Frame
from geomtp.rasters import WindowXYXY

_CLASSES = {  # "model_type" in config.json -> class of transformers
    "sam": "SamModel",
    "sam_hq": "SamHQModel",
    "sam2": "Sam2Model",
    "sam2_video": "Sam2Model",  # what the files of SAM 2 say; the part for single images is used
}


@dataclass(frozen=True, slots=True)
class Embedding:
    """What a model keeps of a window: its features by argument name, and where the window lies."""

    features: dict[str, Any]
    frame: Frame


class SamModels:
    """One of the Segment Anything models, ready to be asked.

    - model: a ``SamModel``, ``SamHQModel`` or ``Sam2Model`` of ``transformers``
    - image_processor: the image processor that belongs to it
    - device; dtype: the type in which pictures are embedded, by far the larger part of the work.
      Prompts are decoded in float32: half precision would move corners by pixels.
    """

    def __init__(
        self, model: Any, image_processor: Any, device: torch.device, dtype: torch.dtype
    ) -> None:
        self._model = model.to(device).eval()
        self._image_processor = image_processor
        self.device = device
        self._dtype = dtype
        prompts = model.config.prompt_encoder_config
        self.mask_side_px = 4 * (prompts.image_size // prompts.patch_size)
        self._padded_hw = (prompts.image_size, prompts.image_size)

    @torch.inference_mode()
    def embed(self, pixels: NDArray[np.uint8], window_xyxy: WindowXYXY) -> Embedding:
        """The embedding of a window's pixels (H, W, 3) uint8."""
        # Resizing, padding and normalisation are those of the folder's preprocessor_config.json.
        inputs = self._image_processor(
            images=torch.from_numpy(pixels).permute(2, 0, 1),  # (3, H, W)
            input_data_format="channels_first",
            return_tensors="pt",
        )
        picture = inputs["pixel_values"].to(self.device)
        half = self._dtype != torch.float32
        with torch.autocast(self.device.type, dtype=self._dtype, enabled=half):
            found = self._model.get_image_embeddings(picture)
        features: dict[str, Any] = {"image_embeddings": found}
        if isinstance(found, tuple):  # SAM-HQ also wants what its encoder saw on the way
            features = {"image_embeddings": found[0], "intermediate_embeddings": list(found[1])}
        sizes = inputs.get("reshaped_input_sizes")  # SAM 2 stretches to the square: no such entry
        resized = self._padded_hw if sizes is None else (int(sizes[0][0]), int(sizes[0][1]))
        frame = Frame(window_xyxy, resized, self._padded_hw, stretched=sizes is None)
        return Embedding(_float32(features), frame)

    @torch.inference_mode()
    def decode_boxes(
        self, embedding: Embedding, boxes: Tensor, *, multimask: bool
    ) -> tuple[Tensor, Tensor]:
        """The masks of box prompts (N, 4): logits (N, M, S, S) and predicted IoU (N, M)."""
        found = self._model(
            **embedding.features,
            input_boxes=boxes[None].to(self.device),
            multimask_output=multimask,
        )
        return found.pred_masks[0], found.iou_scores[0]

    @torch.inference_mode()
    def decode_masks(
        self, embedding: Embedding, masks: Tensor, *, multimask: bool
    ) -> tuple[Tensor, Tensor]:
        """The masks of mask prompts (N, 1, S, S): logits (N, M, S, S) and predicted IoU (N, M).

        The models take one mask prompt per picture, so the picture is repeated.
        """
        found = self._model(
            **_repeated(embedding.features, len(masks)),
            input_masks=masks.to(self.device),
            multimask_output=multimask,
        )
        return found.pred_masks[:, 0], found.iou_scores[:, 0]


def load_sam(
    weights: str | Path,
    *,
    online: bool = False,
    device: str = "auto",
    process: int = 0,
    dtype: str = "auto",
) -> SamModels:
    """The model in the folder ``weights``, laid out as on the Hugging Face hub.

    The folder holds config.json, model.safetensors and preprocessor_config.json of SAM, SAM-HQ or
    SAM 2; with ``online`` it may also be a name on the hub (facebook/sam-vit-huge). Only
    safetensors are read. ``device``, ``process``: as in ``computing_device``. ``dtype``: "auto" is
    bfloat16 on a GPU that has it, float16 on another, float32 on the processor.

    Raises FileNotFoundError when ``transformers`` or the folder is missing, ValueError for a folder
    that holds another kind of model or no safetensors, and for a device that is not there.
    """
    if importlib.util.find_spec("transformers") is None:
        raise FileNotFoundError(
            "the segmenter 'sam' needs the package transformers: pip install geomtp[sam]"
        )
    if not online and not Path(weights).is_dir():
        raise FileNotFoundError(
            f"{weights} is no folder: expected the weights of SAM as on the Hugging Face hub "
            f"(config.json, model.safetensors, preprocessor_config.json); to fetch them by name, "
            f"ask for online weights"
        )
    import transformers

    chosen = computing_device(device, process)
    arguments: dict[str, Any] = {"local_files_only": not online, "trust_remote_code": False}
    try:
        kind = transformers.AutoConfig.from_pretrained(weights, **arguments).model_type
        if kind not in _CLASSES:
            raise ValueError(f"its config.json says {kind!r}, expected {', '.join(_CLASSES)}")
        image_processor = transformers.AutoImageProcessor.from_pretrained(weights, **arguments)
        model_class: Any = getattr(transformers, _CLASSES[kind])
        model, found = model_class.from_pretrained(
            weights, use_safetensors=True, output_loading_info=True, **arguments
        )
        if found["missing_keys"]:  # the library would go on with random numbers in their place
            missing = sorted(found["missing_keys"])
            raise ValueError(f"{len(missing)} tensors are missing, among them {missing[0]!r}")
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:  # what loading raises
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"{weights} cannot be used as weights of SAM: {reason}") from error
    return SamModels(model, image_processor, chosen, _dtype(dtype, chosen))


def _dtype(name: str, device: torch.device) -> torch.dtype:
    if name == "auto" and device.type == "cuda":
        name = "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
    types = {
        "auto": torch.float32,
        "float32": torch.float32,
        "bfloat16": torch.bfloat16,
        "float16": torch.float16,
    }
    if name not in types:
        raise ValueError(f"unknown dtype {name!r}; known: {', '.join(types)}")
    return types[name]


def _float32(features: Any) -> Any:
    return _mapped(features, lambda tensor: tensor.float())


def _repeated(features: Any, count: int) -> Any:
    return _mapped(features, lambda tensor: tensor.expand(count, *tensor.shape[1:]))


def _mapped(features: Any, change: Any) -> Any:
    """``change`` done to every tensor of a nest of dicts and lists."""
    if isinstance(features, dict):
        return {name: _mapped(value, change) for name, value in features.items()}
    if isinstance(features, (list, tuple)):
        return [_mapped(value, change) for value in features]
    return change(features)
