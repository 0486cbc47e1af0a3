from __future__ import annotations

import numpy as np
import pytest
import torch

from geomtp.data.scenes import CLASSES, SCENE_CLASSES, change_pair, chips, draw_scene, large_scene
from geomtp.geometry import enclosing_boxes, masks_from_rboxes, regularise

KINDS = ("harbour", "airfield", "town")
RECTANGLES = ("large-vehicle", "tennis-court", "basketball-court", "hangar")
FINE = ("small-vehicle", *RECTANGLES, "storage-tank", "ship", "plane", "helicopter")


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_bytes(kind):
    first, again, other = (draw_scene(kind, 128, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.rboxes, again.rboxes)
    np.testing.assert_array_equal(first.instances, again.instances)
    assert (first.image != other.image).mean() > 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_every_mask_lies_inside_its_rotated_box(kind):
    overlaps: dict[str, list[float]] = {}
    for seed in range(6):
        scene = draw_scene(kind, 256, seed, classes=FINE)
        rboxes = torch.from_numpy(scene.rboxes)
        assert (rboxes[:, 2] >= rboxes[:, 3]).all()
        oblong = rboxes[rboxes[:, 2] > rboxes[:, 3]]
        torch.testing.assert_close(regularise(oblong), oblong)  # le90 already
        grown = rboxes + torch.tensor([0, 0, 1e-3, 1e-3, 0])
        inside = masks_from_rboxes(grown, (256, 256)).numpy()
        assert scene.masks.shape == inside.shape
        assert not (scene.masks & ~inside).any()
        hulls = enclosing_boxes(rboxes)
        whole = ((hulls > 0) & (hulls < 256)).all(dim=1).numpy()  # not cut by the border
        for mask, box, label in zip(
            scene.masks[whole], inside[whole], scene.labels[whole], strict=True
        ):
            name = scene.classes[label]
            overlaps.setdefault(name, []).append(mask.sum() / box.sum())
    for name, found in overlaps.items():
        if name in RECTANGLES:
            assert min(found) > 0.9, name
        if name == "storage-tank":  # a disc fills π/4 of its square
            assert np.median(found) == pytest.approx(np.pi / 4, abs=0.03)


@pytest.mark.parametrize("kind", KINDS)
def test_labels_masks_and_semantic_map_agree(kind):
    scene = draw_scene(kind, 192, 11)
    assert scene.classes == CLASSES[kind].names
    assert len(scene.labels) == len(scene.rboxes) == scene.instances.max()
    assert set(np.unique(scene.instances)) == set(range(len(scene.labels) + 1))
    assert scene.masks.sum(axis=0).max() == 1  # nothing overlaps
    for mask, label in zip(scene.masks, scene.labels, strict=True):
        assert (scene.semantic[mask] == label + 1).all()
    assert (scene.semantic[~scene.masks.any(axis=0)] == 0).all()


def test_shadows_are_on_the_ground_and_objects_differ_from_it():
    scene = draw_scene("town", 256, 1)
    tennis = draw_scene("town", 256, 1, classes=("building",))
    np.testing.assert_array_equal(scene.image, tennis.image)  # classes only choose labels
    assert tennis.classes == ("building",)
    assert (tennis.labels == 0).all()


def test_all_classes_appear():
    for kind in KINDS:
        seen = np.concatenate([draw_scene(kind, 256, seed).labels for seed in range(30)])
        assert set(seen) == set(range(len(CLASSES[kind]))), kind


def test_large_scene_takes_any_size_and_stays_dense():
    small = draw_scene("town", 256, 0)
    large = large_scene("town", (700, 500), 0)
    assert large.image.shape == (700, 500, 3)
    per_pixel = len(large.labels) / (700 * 500)
    assert 0.3 < per_pixel / (len(small.labels) / 256**2) < 3


def test_unknown_kind_names_the_known_ones():
    with pytest.raises(ValueError, match="airfield"):
        draw_scene("city", 64, 0)


def test_chips_show_each_class_in_turn():
    images, labels = chips(12, 48, seed=5)
    assert images.shape == (12, 48, 48, 3)
    assert labels.tolist() == [0, 1, 2, 3, 4, 5] * 2
    assert len(SCENE_CLASSES) == 6
    forest, farmland = SCENE_CLASSES.index("forest"), SCENE_CLASSES.index("farmland")
    assert images[labels == forest].mean() < images[labels == farmland].mean()
    np.testing.assert_array_equal(images, chips(12, 48, seed=5)[0])


def test_change_pair_marks_what_stands_on_one_date_only():
    found = 0
    for seed in range(6):
        pair = change_pair("residential", 192, seed)
        nothing = change_pair("residential", 192, seed, changed=0.0)
        assert not nothing.change.any()
        assert pair.change.shape == (192, 192)
        if not pair.change.any():
            continue
        found += 1
        # The same days without any change differ there, and only there and in the shadows.
        differs = (pair.before != nothing.before) | (pair.after != nothing.after)
        assert differs.any(axis=2)[pair.change].mean() > 0.95
        assert differs.any(axis=2)[~pair.change].mean() < 0.25
    assert found >= 3


def test_figures_go_by_their_own_name_or_their_groups():
    fine = draw_scene("town", 256, 1, classes=("small-vehicle", "vehicle"))
    wide = draw_scene("town", 256, 1, classes=("vehicle",))
    assert set(fine.labels) == {0, 1}  # lorries have no name of their own there
    assert set(wide.labels) == {0}
    assert len(wide.labels) == len(fine.labels)
    np.testing.assert_array_equal(fine.rboxes, wide.rboxes)
