"""Tiny randomly initialised Segment Anything models, in folders laid out as on the hub."""

import torch

SIDE = 64  # pixels of the square picture; masks have 32


def save(kind, folder):
    """A model of ``kind`` with its processor below ``folder``; each time the same weights."""
    import transformers

    torch.manual_seed(0)
    build = {"sam": _sam, "sam_hq": _sam_hq, "sam2": _sam2}[kind]
    model, processor = build(transformers)
    with torch.no_grad():
        for parameter in model.parameters():  # as initialised, every mask would be the same
            if parameter.ndim > 1:
                parameter.normal_(0, 0.3 if kind == "sam2" else 0.5)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)  # preprocessor_config.json
    return folder


def _prompts():
    return {"hidden_size": 32, "image_size": SIDE, "patch_size": 8, "mask_input_channels": 16}


def _decoder():
    return {
        "hidden_size": 32,
        "mlp_dim": 64,
        "num_attention_heads": 2,
        "iou_head_hidden_dim": 32,
    }


def _vision():
    return {
        "hidden_size": 32,
        "output_channels": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": SIDE,
        "patch_size": 8,
        "window_size": 4,
        "global_attn_indexes": [1],
        "mlp_dim": 64,
        "num_pos_feats": 16,
    }


def _padding_processor(transformers):
    square, small = {"height": SIDE, "width": SIDE}, {"height": 16, "width": 16}
    return transformers.SamImageProcessor(
        size={"longest_edge": SIDE},
        pad_size=square,
        mask_size={"longest_edge": 16},
        mask_pad_size=small,
    )


def _sam(transformers):
    config = transformers.SamConfig(
        vision_config=_vision(), prompt_encoder_config=_prompts(), mask_decoder_config=_decoder()
    )
    return transformers.SamModel(config), _padding_processor(transformers)


def _sam_hq(transformers):
    config = transformers.SamHQConfig(
        vision_config=_vision(),
        prompt_encoder_config=_prompts(),
        mask_decoder_config=_decoder() | {"vit_dim": 32},
    )
    return transformers.SamHQModel(config), _padding_processor(transformers)


def _sam2(transformers):
    backbone = {
        "hidden_size": 8,
        "num_attention_heads": 1,
        "image_size": [SIDE, SIDE],
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 2, 2],
        "window_size_per_stage": [4, 2, 4, 2],
        "global_attention_blocks": [3],
        "window_positional_embedding_background_size": [4, 4],
    }
    vision = {
        "backbone_config": backbone | {"model_type": "sam2_hiera_det_model"},
        "backbone_channel_list": [64, 32, 16, 8],
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        "fpn_hidden_size": 32,
    }
    config = transformers.Sam2Config(
        vision_config=vision,
        prompt_encoder_config=_prompts() | {"patch_size": 16},
        mask_decoder_config=_decoder(),
    )
    size = {"height": SIDE, "width": SIDE}
    processor = transformers.Sam2ImageProcessor(size=size, mask_size={"height": 16, "width": 16})
    return transformers.Sam2Model(config), processor
