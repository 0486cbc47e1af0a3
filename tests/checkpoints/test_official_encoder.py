"""The official loader of the fine-tuning code, on files made for another image size."""

import pytest
import torch

from geomtp.checkpoints import import_official
from geomtp.encoders.vit_rvsa import ViTRVSA
from tests.golden import fill
from tests.golden_cases import GoldenCase


def before_loading(key: str, shape: list[int]) -> torch.Tensor:
    """A tensor of the model as the official loader finds it: it resets the layer norms first."""
    tensor = torch.from_numpy(fill.fill(key, shape, "public"))
    if "norm" in key or ".ln." in key:
        tensor = torch.ones(shape) if key.endswith("weight") else torch.zeros(shape)
    return tensor


@pytest.mark.parametrize(
    ("name", "num_interpolated", "options"),
    [
        ("load_pretrain_mae_112_to_144", 1, {}),
        ("load_seg_mae_112_to_144", 1, {}),
        ("load_seg_mtp_112_to_144", 5, {}),
        ("load_det_branches_mtp_112_to_144", 1, {"global_rel_pos": False}),
        ("load_cls_mtp_112_to_144", 5, {"pyramid": False}),
        ("load_cd_mtp_128_to_128", 0, {"pyramid": False}),
    ],
)
def test_imported_weights_give_the_features_of_the_reference(name, num_interpolated, options):
    case = GoldenCase.read(name)
    encoder = ViTRVSA(
        **options,
        image_size=case.info["config"]["model_image_size"],
        width=64,
        depth=6,
        num_heads=4,
        global_every=3,
        out_blocks=(1, 2, 3, 5),
    ).eval()
    shapes = {k: s for k, s in case.info["model_keys"].items() if not fill.SKIP(k)}
    import_official({k: before_loading(k, s) for k, s in shapes.items()}, into=encoder)

    file = {
        key: torch.from_numpy(fill.fill(key.removeprefix("encoder."), shape, "public-ckpt"))
        for key, shape in case.info["file_keys"].items()
        if not fill.SKIP(key)
    }
    report = import_official(file, into=encoder)
    assert len(report.interpolated) == num_interpolated
    assert report.unexpected == ()
    with torch.no_grad():
        pyramid = encoder(case.tensor("x"))
    for level, features in enumerate(pyramid.levels):
        case.compare(f"out{level}", features)
    official = {theirs: ours for ours, theirs in encoder.official_keys().items()}
    for tensor in case.info["tensors"]:
        key = tensor.removeprefix("loaded:")
        if tensor == "pos_embed" or key != tensor:
            ours = official.get(key)  # a part that this variant leaves out has none
            assert ours or key.startswith("fpn"), key
            if ours:
                case.compare_gradient(tensor, encoder.state_dict()[ours], 1e-4)
