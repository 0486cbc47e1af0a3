"""``geomtp.predict`` gives what the command writes, from paths and from arrays."""

import dataclasses

import numpy as np
import pytest
import torch

import geomtp
from geomtp.rasters import Georeference
from geomtp.types import Predictions
from tests.inference.scenes import UTM, noise, predicted, values_of, write_scene
from tests.inference.stub_models import Blur, Difference, Rectangles, StubModel


def test_paths_and_arrays_give_what_the_command_writes(monkeypatch, tmp_path):
    pixels = noise(130, 170)
    scene = write_scene(tmp_path / "scene.tif", pixels, **UTM)
    (result,) = predicted(monkeypatch, Blur(), tmp_path / "out", scene, window=64)
    written = values_of(result.maps["semantic"])
    for image in (scene, str(scene), pixels, pixels[..., None]):
        found = geomtp.predict(Blur(), image, window=64)
        np.testing.assert_array_equal(found.semantic, written)
        assert (found.change, found.objects, found.scene) == (None, {}, None)
    assert geomtp.predict(Blur(), scene).place.crs == "EPSG:32632"


def test_bands_of_arrays_are_chosen_too():
    pixels = np.dstack([np.full((40, 40), value, np.uint8) for value in (20, 120, 250)])
    for bands, value in (((1,), 0), ((2,), 1), (("3",), 2)):
        assert (geomtp.predict(Blur(), pixels, bands=bands).semantic == value).all()
    with pytest.raises(ValueError, match="the array has no band '4'"):
        geomtp.predict(Blur(), pixels, bands=(4,))


def test_what_is_masked_in_an_array_has_no_data():
    pixels = np.ma.masked_equal(noise(50, 60).astype(np.int16) // 2 * 2, 40)
    pixels[:, :20] = np.ma.masked
    found = geomtp.predict(Blur(), pixels)
    np.testing.assert_array_equal(found.semantic == 255, np.ma.getmaskarray(pixels))


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"image": torch.zeros(40, 40)}, r"a path or a numpy array \(H, W, C\), got Tensor"),
        ({"image": np.full((40, 40), "a")}, "whole or real numbers, got an array of <U1"),
        ({"image": "a.tif", "place": Georeference(UTM["crs"], tuple(UTM["transform"])[:6])},
         "place is for arrays"),
        ({"window": 8}, "a window has at least 32 pixels, found 8"),
        ({"model": "runs/a.safetensors"}, r"geomtp\.load\('runs/a\.safetensors'\) gives it"),
    ],
)  # fmt: skip
def test_what_would_be_ignored_or_break_is_refused(given, complaint):
    with pytest.raises(ValueError, match=complaint):
        geomtp.predict(**{"model": Blur(), "image": np.zeros((40, 40)), **given})


def test_objects_come_as_a_frame_on_the_ground():
    pixels = np.zeros((100, 100), dtype=np.float32)
    pixels[20:28, 30:50] = 200
    place = Georeference(UTM["crs"], tuple(UTM["transform"])[:6])
    frame = geomtp.predict(Rectangles("rotated"), pixels, place=place, window=64).objects["rotated"]
    assert frame["class"].tolist() == ["plane"]
    assert frame.geometry[0].bounds == pytest.approx((500_015, 4_999_986, 500_025, 4_999_990))
    assert frame["length_m"][0] == pytest.approx(10, rel=1e-3)
    assert frame.crs.to_epsg() == 32632


class Doubles(StubModel):
    """Says the same two boxes, which overlap by half, of every image."""

    def __init__(self):
        super().__init__(("rotated", "horizontal"))

    def say(self, images, images_after):
        upright = torch.tensor([[10.0, 10, 30, 20], [10, 10, 30, 30]])
        turned = torch.tensor([[20.0, 15, 20, 10, 0], [20, 20, 20, 20, 0]])
        scores, labels = torch.tensor([0.9, 0.8]), torch.zeros(2, dtype=torch.int64)
        found = Predictions(
            boxes=upright, box_scores=scores, box_labels=labels,
            rboxes=turned, rbox_scores=scores, rbox_labels=labels,
        )  # fmt: skip
        return [found for _ in images]


@pytest.mark.parametrize(
    ("given", "rotated", "horizontal"),
    [({"box_nms_iou": 0.4}, 1, 1), ({"rotated_nms_iou": 0.6, "box_nms_iou": 0.6}, 2, 2)],
)
def test_from_which_overlap_boxes_are_one_may_be_said(given, rotated, horizontal):
    objects = geomtp.predict(Doubles(), np.zeros((40, 40), np.uint8), **given).objects
    assert (len(objects["rotated"]), len(objects["horizontal"])) == (rotated, horizontal)


def test_two_dates():
    before, after = np.zeros((70, 80), np.uint16), np.zeros((70, 80), np.uint16)
    after[10:20, 30:45] = 300
    found = geomtp.predict(Difference(), before, after)
    np.testing.assert_array_equal(found.change, after > 0)
    with pytest.raises(ValueError, match="compares 2 dates, 1 images were given"):
        geomtp.predict(Difference(), before)
    with pytest.raises(ValueError, match="cannot be laid over each other: they differ in size"):
        geomtp.predict(Difference(), before, after[:60])


class Probabilities(StubModel):
    """The class of the whole window: the second, where it is bright."""

    def __init__(self):
        super().__init__(("scene",))

    def say(self, images, images_after):
        bright = images.mean(dim=(1, 2, 3)) > 100
        return [Predictions(scene_logits=torch.tensor([0.0, 9.0 if b else -9.0])) for b in bright]


def test_the_class_of_an_image_is_the_mean_over_its_windows():
    pixels = np.zeros((64, 240), np.uint8)  # windows from 0, 48, 96, 144 and 176 on
    pixels[:, :80] = 255  # all of the first, and half of the second
    found = geomtp.predict(Probabilities(), pixels, window=64)
    assert found.scene["plane"] == pytest.approx(2 / 5, abs=1e-3)
    assert sum(found.scene.values()) == pytest.approx(1, abs=1e-5)


def test_values_of_more_than_eight_bits_are_doubted_and_stretched():
    pixels = noise(100, 100)
    deep = pixels.astype(np.uint16) * 40 + 300
    with pytest.warns(UserWarning, match="are far from those that the model was trained on"):
        wrong = geomtp.predict(Blur(), deep, window=64)
    assert set(np.unique(wrong.semantic)) == {2}
    found = geomtp.predict(Blur(), deep, window=64, stretch=True)
    expected = geomtp.predict(Blur(), pixels, window=64)
    assert (found.semantic == expected.semantic).mean() > 0.9
    with pytest.warns(UserWarning, match=r"\(mean 0\.\d+\) are far from .*; --stretch brings"):
        geomtp.predict(Blur(), pixels.astype(np.float32) / 255, window=64)
    for same in (pixels.astype(np.uint16), pixels.astype(np.float32), pixels.astype(np.int64)):
        again = geomtp.predict(Blur(), same, window=64)
        np.testing.assert_array_equal(again.semantic, expected.semantic)


def test_bytes_are_doubted_where_the_model_knows_fractions():
    model = Blur()
    source = dataclasses.replace(model.config.sources["made"], mean=(0.5,), std=(0.25,))
    model.config = dataclasses.replace(model.config, sources={"made": source})
    with pytest.warns(UserWarning, match=r"\(mean 0\.5\): .* bring them to the same units"):
        geomtp.predict(model, noise(70, 70))


def test_numbers_that_are_none_are_no_data():
    pixels = noise(100, 100).astype(np.float32)
    pixels[30:40, 50:] = np.nan
    found = geomtp.predict(Blur(), pixels, window=64)
    np.testing.assert_array_equal(found.semantic == 255, np.isnan(pixels))


def test_a_scene_may_be_looked_at_in_another_resolution():
    fine = np.kron(noise(100, 90, seed=5), np.ones((2, 2), np.uint8))
    place = Georeference("EPSG:32632", (0.5, 0, 500_000, 0, -0.5, 5_000_000))
    coarse = geomtp.predict(Blur(), fine[::2, ::2], window=64)
    found = geomtp.predict(Blur(), fine, place=place, gsd=1.0, window=64)
    assert found.semantic.shape == fine.shape
    expected = np.kron(coarse.semantic, np.ones((2, 2), np.uint8))
    assert (found.semantic == expected).mean() > 0.97  # borders of classes are interpolated
    boxes = np.zeros((200, 200), np.uint8)
    boxes[40:60, 100:140] = 200
    frame = geomtp.predict(Rectangles("rotated"), boxes, place=place, gsd=1.0, window=64).objects
    assert frame["rotated"].geometry[0].bounds == pytest.approx(
        (500_050, 4_999_970, 500_070, 4_999_980), abs=0.26
    )
    with pytest.raises(ValueError, match="does not say where on Earth it lies"):
        geomtp.predict(Blur(), fine, gsd=1.0)


def test_arrays_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"has 2 bands .* the model needs 1"):
        geomtp.predict(Blur(), np.zeros((50, 50, 2)))
    with pytest.raises(ValueError, match=r"shape \(H, W, C\) or \(H, W\)"):
        geomtp.predict(Blur(), np.zeros((1, 50, 50, 1)))
    grey = geomtp.predict(Blur(bands=3), noise(40, 40))
    assert grey.semantic.shape == (40, 40)
