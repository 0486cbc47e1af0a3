"""The reference's transforms with their own parameters: boxes, masks, maps and images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from geomtp.data.filtering import clipped, overlapping_boxes
from geomtp.data.objects import KeepRule, objects_in_view
from geomtp.data.views import ViewParameters, mask_views, read_view, semantic_view
from geomtp.geometry import encode_rle, regularise
from geomtp.labels import ImageLabels
from tests.golden_cases import GoldenCase

GOLDEN = GoldenCase.read("transforms")
SIZE = (160, 160)
CROP = (8, 70, 80, 142)  # x1 y1 x2 y2
REFERENCE = KeepRule(reference=True)
BOTH = ("instance", "rotated")

CASES = {
    "flip_horizontal": ViewParameters(SIZE, "horizontal", SIZE, (0, 0, 160, 160)),
    "flip_vertical": ViewParameters(SIZE, "vertical", SIZE, (0, 0, 160, 160)),
    "flip_diagonal": ViewParameters(SIZE, "diagonal", SIZE, (0, 0, 160, 160)),
    "resize": ViewParameters.whole(SIZE, (200, 200)),
    "resize_noratio": ViewParameters.whole(SIZE, (200, 200)),
    "crop": ViewParameters(SIZE, None, SIZE, CROP),
    "crop_filter": ViewParameters(SIZE, None, SIZE, CROP),
    "flip_resize": ViewParameters(SIZE, "diagonal", (200, 200), (0, 0, 200, 200)),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("golden")
    Image.fromarray(GOLDEN.arrays["input/img_u8"][:, :, ::-1]).save(folder / "image.png")
    # As files hold it: the class id, 255 for background.
    Image.fromarray(GOLDEN.arrays["input/seg"] - np.uint8(1)).save(folder / "map.png")
    return folder


@pytest.fixture(scope="module")
def labels():
    return ImageLabels(
        image="image.png",
        size_hw=SIZE,
        boxes=GOLDEN.arrays["input/hboxes"],
        box_labels=GOLDEN.arrays["input/hlabels"],
        rles=tuple(encode_rle(GOLDEN.tensor("input/masks_packed"))),
        rboxes=regularise(GOLDEN.tensor("input/rboxes")).numpy(),
        rbox_labels=GOLDEN.arrays["input/rlabels"],
        semantic="map.png",
    )


def assert_rboxes(have: Tensor, case: str) -> None:
    want = regularise(GOLDEN.tensor(f"{case}/rboxes"))
    torch.testing.assert_close(have[:, :4], want[:, :4], atol=1e-3, rtol=0)
    turn = (have[:, 4] - want[:, 4] + np.pi / 2) % np.pi - np.pi / 2
    assert turn.abs().max() < 1e-5


@pytest.mark.parametrize("case", CASES)
def test_boxes(case, labels):
    view = CASES[case]
    targets, lost = objects_in_view(labels, view, BOTH, REFERENCE)
    assert not lost
    assert_rboxes(targets.rboxes, case)
    assert targets.rbox_labels.tolist() == GOLDEN.arrays[f"{case}/rlabels"].tolist()
    if case == "crop":  # before the reference's filter: the objects that overlap
        kept = overlapping_boxes(view.boxes(torch.from_numpy(labels.boxes)), view.size_hw)
        assert torch.from_numpy(labels.box_labels)[kept].tolist() == (
            GOLDEN.arrays["crop/hlabels"].tolist()
        )
    elif case == "crop_filter":
        torch.testing.assert_close(targets.boxes, GOLDEN.tensor("crop_filter/hboxes"))
        assert targets.box_labels.tolist() == GOLDEN.arrays["crop_filter/hlabels"].tolist()
    else:  # the reference takes boxes from the masks only when it crops
        moved = clipped(view.boxes(torch.from_numpy(labels.boxes)), view.size_hw)
        torch.testing.assert_close(moved, GOLDEN.tensor(f"{case}/hboxes"), atol=1e-3, rtol=0)
        assert targets.box_labels.tolist() == GOLDEN.arrays[f"{case}/hlabels"].tolist()


@pytest.mark.parametrize("case", CASES)
def test_masks(case, labels):
    view, want = CASES[case], GOLDEN.tensor(f"{case}/masks_packed").bool()
    if case == "crop_filter":
        masks = objects_in_view(labels, view, BOTH, REFERENCE)[0].masks
    else:
        masks, boxes = mask_views(labels.rles, view)
        if case == "crop":
            torch.testing.assert_close(boxes, GOLDEN.tensor("crop/hboxes"))
    assert masks.sum(dim=(1, 2)).tolist() == GOLDEN.arrays[f"{case}/mask_areas"].tolist()
    assert torch.equal(masks, want)


@pytest.mark.parametrize("case", CASES)
def test_semantic_map(case, labels, folder):
    semantic = semantic_view(labels, folder, CASES[case])
    assert semantic.tolist() == GOLDEN.arrays[f"{case}/seg"].tolist()


@pytest.mark.parametrize("case", CASES)
def test_image(case, folder):
    pixels, dtype = read_view(folder / "image.png", CASES[case], range(3))
    assert dtype == np.uint8
    have = torch.from_numpy(pixels).permute(1, 2, 0).flip(2)  # (C, H, W) RGB -> (H, W, C) BGR
    assert list(have.shape) == GOLDEN.info["tensors"][f"{case}/img"]["shape"]
    have, want = GOLDEN._pair(f"{case}/img", have.contiguous())
    bound = 1.0 if "resize" in case else 0.0
    assert (have - want).abs().max() <= bound
