"""However an image is looked at, a model that judges pixel by pixel says the same."""

import pytest
import torch

from geomtp.evaluation.fusion import resized
from geomtp.evaluation.looking import look_at
from geomtp.evaluation.protocol import Protocol
from geomtp.inference.windows.mirroring import unflipped
from geomtp.types import Predictions
from tests.evaluation.looker import PixelModel

BRIGHT = [(4, 6, 60.0), (20, 11, 80.0), (13, 26, 70.0)]  # x, y, hundred times the score


def image(size_hw=(30, 40), seed=0):
    pixels = torch.randn(3, *size_hw, generator=torch.Generator().manual_seed(seed))
    for x, y, value in BRIGHT:
        pixels[0, y, x] = value
    return pixels


PROTOCOLS = [
    Protocol(),
    Protocol(flips=("horizontal", "vertical", "diagonal")),
    Protocol(crop_px=16, stride_px=10),
    Protocol(crop_px=16, stride_px=11, flips=("vertical",), windows_at_once=3),
    Protocol(crop_px=64, stride_px=32),
]


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=str)
def test_views_and_windows_agree_with_the_whole(protocol):
    model, before, after = PixelModel(), image(), image(seed=1)
    whole = model.predict(before[None], [(30, 40)], "s", None, after[None])[0]
    found = look_at(model, "s", before, protocol, (30, 40), after)
    for name in ("semantic_logits", "change_logits", "scene_logits"):
        want, have = getattr(whole, name).softmax(0), getattr(found, name).softmax(0)
        torch.testing.assert_close(have, want, rtol=1e-5, atol=1e-6, msg=name)
    for name in ("boxes", "box_scores", "masks", "rboxes", "rbox_scores", "rbox_labels"):
        torch.testing.assert_close(getattr(found, name), getattr(whole, name), msg=name)
    assert found.box_scores.tolist() == pytest.approx([0.8, 0.7, 0.6])


def test_windows_go_through_the_model_a_few_at_a_time():
    model = PixelModel()
    look_at(model, "s", image(), Protocol(crop_px=16, stride_px=12, windows_at_once=4), (30, 40))
    assert model.calls == [4, 4, 1]  # 3 rows of 3 windows


def test_probabilities_of_views_are_averaged():
    class Leaning(PixelModel):
        def predict(self, images, sizes, source, output=None, after=None):
            logits = torch.zeros(2, *sizes[0])
            logits[1] = images[0, 0, 0, 0]  # depends on the corner: each view says another thing
            return [Predictions(semantic_logits=logits)]

    pixels = torch.zeros(1, 2, 2)
    pixels[0, 0, 0], pixels[0, 0, 1] = 2.0, -1.0
    found = look_at(Leaning(), "s", pixels, Protocol(flips=("horizontal",)), (2, 2))
    mean = (torch.tensor(2.0).sigmoid() + torch.tensor(-1.0).sigmoid()) / 2
    torch.testing.assert_close(found.semantic_logits.exp()[1], mean.expand(2, 2))


def test_the_middle_alone():
    class Mean(PixelModel):
        def predict(self, images, sizes, source, output=None, after=None):
            assert sizes == [(4, 4)]
            return [Predictions(scene_logits=images[0, 0].mean().repeat(2) * torch.tensor([1, 0]))]

    pixels = torch.zeros(1, 8, 6)
    pixels[:, 2:6] = 1.0
    found = look_at(Mean(), "s", pixels, Protocol(centre_px=4, flips=()), (8, 6))
    assert found.scene_logits.tolist() == [1.0, 0.0]


def test_scales_bring_objects_back_to_the_image():
    class Sized(PixelModel):
        def predict(self, images, sizes, source, output=None, after=None):
            height, width = output[0]
            box = torch.tensor([[0.25 * width, 0.0, 0.5 * width, 0.5 * height]])
            score = torch.tensor([min(1.0, sizes[0][1] / 100)])
            labels = torch.zeros(1, dtype=torch.long)
            return [Predictions(boxes=box, box_scores=score, box_labels=labels)]

    found = look_at(
        Sized(), "s", torch.zeros(3, 20, 40), Protocol(scales=(0.5, 1.0, 1.5)), (20, 40)
    )
    assert found.boxes.tolist() == [[10.0, 0.0, 20.0, 10.0]]
    assert found.box_scores.tolist() == pytest.approx([0.6])  # the surest of the three


def test_turning_back_by_hand():
    one = torch.tensor([0])
    found = Predictions(
        boxes=torch.tensor([[1.0, 2.0, 4.0, 3.0]]), box_scores=torch.ones(1), box_labels=one,
        rboxes=torch.tensor([[3.0, 2.0, 4.0, 2.0, 0.3]]), rbox_scores=torch.ones(1),
        rbox_labels=one, semantic_logits=torch.arange(6.0).reshape(1, 2, 3),
    )  # fmt: skip
    back = unflipped(found, "horizontal", (8, 10))
    assert back.boxes.tolist() == [[6.0, 2.0, 9.0, 3.0]]
    torch.testing.assert_close(back.rboxes, torch.tensor([[7.0, 2.0, 4.0, 2.0, -0.3]]))
    assert back.semantic_logits.tolist() == [[[2, 1, 0], [5, 4, 3]]]
    back = unflipped(found, "vertical", (8, 10))
    assert back.boxes.tolist() == [[1.0, 5.0, 4.0, 6.0]]
    back = unflipped(found, "diagonal", (8, 10))
    torch.testing.assert_close(back.rboxes, torch.tensor([[7.0, 6.0, 4.0, 2.0, 0.3]]))
    twice = resized(found, (8, 10), (16, 20))
    assert twice.boxes.tolist() == [[2.0, 4.0, 8.0, 6.0]]
    torch.testing.assert_close(twice.rboxes, torch.tensor([[6.0, 4.0, 8.0, 4.0, 0.3]]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"crop_px": 32}, "both their side"),
        ({"crop_px": 32, "stride_px": 16, "centre_px": 16}, "by its middle or by windows"),
        ({"crop_px": 32, "stride_px": 40}, "leave gaps"),
        ({"scales": ()}, "different factors above 0"),
        ({"scales": (1.0, 1.0)}, "different factors above 0"),
        ({"flips": ("vertical", "vertical")}, "flips must differ"),
        ({"size_px": 0}, "size_px must be at least 1, found 0"),
    ],
)
def test_protocols_that_make_no_view(settings, message):
    with pytest.raises(ValueError, match=message):
        Protocol(**settings)
