import numpy as np
import pytest
import torch

from geomtp.geometry import points_inside
from geomtp.training.overlays import draw_instances, draw_rotated, draw_semantic
from geomtp.types import IGNORE, ClassMap

RED, GREEN = (200, 20, 30), (10, 180, 60)
CLASSES = ClassMap(("plane", "ship"), (RED, GREEN))


def grey(height, width, value=100):
    return np.full((height, width, 3), value, np.uint8)


def is_colour(picture, colour):
    return (picture == np.array(colour)).all(axis=2)


def outline(size, x1, y1, x2, y2, thick=1):
    expected = np.zeros((size, size), bool)
    expected[y1:y2, x1:x2] = True
    expected[y1 + thick : y2 - thick, x1 + thick : x2 - thick] = False
    return expected


def tinted(value, colour):
    return np.rint(np.float32(value) * 0.55 + np.array(colour, np.float32) * 0.45)


class TestSemantic:
    def test_areas_are_tinted_and_edged_and_background_stays(self):
        semantic = torch.zeros(20, 30, dtype=torch.uint8)
        semantic[5:12, 4:10] = 1
        semantic[5:12, 10:18] = 2
        drawn = draw_semantic(grey(20, 30), semantic, CLASSES)
        assert drawn.dtype == np.uint8
        background = (semantic == 0).numpy()
        assert (drawn[background] == 100).all()
        assert (drawn[8, 7] == tinted(100, RED)).all()
        assert (drawn[8, 14] == tinted(100, GREEN)).all()
        for y, x, colour in [(5, 6, RED), (11, 6, RED), (8, 4, RED), (8, 9, RED), (8, 10, GREEN)]:
            assert tuple(drawn[y, x]) == colour

    def test_what_does_not_count_is_dark_with_grey_stripes(self):
        semantic = torch.full((16, 16), IGNORE, dtype=torch.uint8)
        drawn = draw_semantic(grey(16, 16), semantic, CLASSES)
        values, counts = np.unique(drawn[..., 0], return_counts=True)
        assert values.tolist() == [50, 105]  # half of 100; and that mixed with 160
        assert counts.tolist() == [192, 64]  # stripes of 2 in every 8 pixels
        assert drawn[0, 0, 0] == 105
        assert drawn[0, 2, 0] == 50

    def test_the_image_is_not_changed(self):
        image = grey(4, 4)
        draw_semantic(image, torch.ones(4, 4, dtype=torch.uint8), CLASSES)
        assert (image == 100).all()

    def test_another_size_is_refused(self):
        with pytest.raises(ValueError, match=r"labels \(4, 5\), image \(4, 4\)"):
            draw_semantic(grey(4, 4), torch.zeros(4, 5, dtype=torch.uint8), CLASSES)


class TestInstances:
    def test_the_outline_of_a_box_is_its_outermost_pixels(self):
        boxes, labels = torch.tensor([[10.0, 20.0, 30.0, 50.0]]), torch.tensor([1])
        drawn = draw_instances(grey(64, 64), boxes, None, labels, None, CLASSES)
        np.testing.assert_array_equal(is_colour(drawn, GREEN), outline(64, 10, 20, 30, 50))
        touched = (drawn != 100).any(axis=2)
        assert not touched[22:48, 12:28].any()  # beyond the dark rim
        assert touched.sum() == outline(64, 9, 19, 31, 51, 3).sum()

    def test_a_mask_is_tinted_and_edged_also_at_the_border_of_the_image(self):
        masks = torch.zeros(1, 40, 40, dtype=torch.bool)
        masks[0, :10, 5:20] = True
        boxes = torch.tensor([[30.0, 30.0, 36.0, 36.0]])  # elsewhere, not to disturb
        drawn = draw_instances(grey(40, 40), boxes, masks, torch.tensor([0]), None, CLASSES)
        expected = np.zeros((40, 40), bool)
        expected[:10, 5:20] = True
        expected[1:9, 6:19] = False
        np.testing.assert_array_equal(is_colour(drawn, RED)[:25, :25], expected[:25, :25])
        assert (drawn[1:9, 6:19] == tinted(100, RED)).all()

    def test_the_first_object_lies_on_top(self):
        masks = torch.ones(2, 40, 40, dtype=torch.bool)
        boxes = torch.tensor([[0.0, 0.0, 40.0, 40.0]]).repeat(2, 1)
        labels = torch.tensor([0, 1])
        drawn = draw_instances(grey(40, 40), boxes, masks, labels, None, CLASSES)
        assert (drawn[20, 20] == tinted(tinted(100, GREEN), RED)).all()
        assert tuple(drawn[0, 0]) == RED

    def test_no_objects_leave_the_image(self):
        none = torch.zeros(0, 4), torch.zeros(0, 30, 30, dtype=torch.bool)
        labels = torch.zeros(0, dtype=torch.long)
        drawn = draw_instances(grey(30, 30), *none, labels, torch.zeros(0), CLASSES)
        assert (drawn == 100).all()

    def test_an_empty_mask_leaves_the_image(self):
        masks, boxes = torch.zeros(1, 30, 30, dtype=torch.bool), torch.full((1, 4), torch.nan)
        drawn = draw_instances(grey(30, 30), boxes, masks, torch.tensor([0]), None, CLASSES)
        assert (drawn == 100).all()

    def test_masks_of_another_size_are_refused(self):
        masks = torch.zeros(1, 8, 8, dtype=torch.bool)
        with pytest.raises(ValueError, match="of one size"):
            draw_instances(grey(9, 8), torch.zeros(1, 4), masks, torch.tensor([0]), None, CLASSES)


class TestRotated:
    @pytest.mark.parametrize("size, thick", [(100, 1), (300, 2)])
    def test_an_upright_box_is_exact_with_a_tick_at_the_end_of_its_long_side(self, size, thick):
        rboxes = torch.tensor([[50.0, 40.0, 40.0, 20.0, 0.0]]).repeat(13, 1)  # too many to name
        drawn = draw_rotated(grey(size, size), rboxes, torch.zeros(13).long(), None, CLASSES)
        found = is_colour(drawn, RED)
        np.testing.assert_array_equal(found[:, :70], outline(size, 30, 30, 70, 50, thick)[:, :70])
        ticked = (drawn != 100).any(axis=2)[:, 72:]
        assert ticked[40].sum() == 3 * thick - 1  # 3 from 70 on, and 1 of rim; 2 of them cut here
        assert not ticked[:36].any()

    def test_a_box_a_quarter_turned_has_its_tick_above(self):
        rboxes = torch.tensor([[50.0, 40.0, 40.0, 20.0, -torch.pi / 2]])
        drawn = draw_rotated(grey(100, 100), rboxes, torch.tensor([0]), None, CLASSES)
        upright = outline(100, 40, 20, 60, 60)
        np.testing.assert_array_equal(is_colour(drawn, RED)[20:], upright[20:])
        assert (drawn[17:20, 49:51] != 100).all()

    @pytest.mark.parametrize("seed", range(8))
    def test_pixels_well_within_the_line_are_full_and_all_others_untouched(self, seed):
        generator = torch.Generator().manual_seed(seed)
        cx, cy, w, h, angle = torch.rand(5, generator=generator).tolist()
        rbox = torch.tensor([100 + 80 * cx, 100 + 80 * cy, 60 + 40 * w, 30 + 20 * h, 3 * angle])
        drawn = draw_rotated(
            grey(300, 300), rbox.repeat(13, 1), torch.ones(13).long(), None, CLASSES
        )
        ys, xs = torch.meshgrid(torch.arange(300), torch.arange(300), indexing="ij")
        centres = torch.stack([xs, ys], dim=-1).reshape(-1, 2) + 0.5

        def inside(grow_px):
            grown = rbox + torch.tensor([0, 0, 2 * grow_px, 2 * grow_px, 0])
            return points_inside(centres, grown[None]).reshape(300, 300).numpy()

        full = inside(-0.51) & ~inside(-1.49)
        assert full.sum() > 100
        assert is_colour(drawn, GREEN)[full].all()
        assert (drawn[inside(-3.51)] == 100).all()
        assert (drawn[~inside(8.51)] == 100).all()

    def test_small_boxes_keep_a_thin_line(self):
        rboxes = torch.tensor([[50.0, 40.0, 20.0, 8.0, 0.0]]).repeat(13, 1)
        drawn = draw_rotated(grey(300, 300), rboxes, torch.zeros(13).long(), None, CLASSES)
        np.testing.assert_array_equal(
            is_colour(drawn, RED)[:, :60], outline(300, 40, 36, 60, 44)[:, :60]
        )

    @pytest.mark.parametrize("wild", [torch.nan, torch.inf, -torch.inf])
    def test_boxes_that_are_not_finite_are_left_out(self, wild):
        rboxes = torch.tensor([[150.0, wild, 20.0, 10.0, 0.0], [150.0, 150.0, 20.0, 10.0, wild]])
        drawn = draw_rotated(grey(300, 300), rboxes, torch.tensor([0, 0]), None, CLASSES)
        assert (drawn == 100).all()

    def test_boxes_far_outside_do_no_harm(self):
        rboxes = torch.tensor([[1e30, -1e30, 20.0, 10.0, 0.3], [-900.0, 20.0, 40.0, 9.0, 0.1]])
        drawn = draw_rotated(grey(200, 200), rboxes, torch.tensor([0, 1]), None, CLASSES)
        assert (drawn == 100).all()

    def test_no_objects_leave_the_image(self):
        labels = torch.zeros(0, dtype=torch.long)
        assert (draw_rotated(grey(9, 9), torch.zeros(0, 5), labels, None, CLASSES) == 100).all()


class TestWriting:
    boxes = torch.tensor([[100.0, 100.0, 200.0, 160.0]])

    def coloured(self, count, size=300, scores=None, box=boxes):
        labels = torch.zeros(count, dtype=torch.long)
        boxes = box.repeat(count, 1)
        return is_colour(
            draw_instances(grey(size, size), boxes, None, labels, scores, CLASSES), RED
        )

    def test_few_objects_are_named_above_their_box_and_many_are_not(self):
        bare = outline(300, 100, 100, 200, 160)
        np.testing.assert_array_equal(self.coloured(13), bare)
        named = self.coloured(1)
        assert named[83:100, 100:130].sum() > 250
        np.testing.assert_array_equal(named[100:], bare[100:])

    def test_a_score_makes_the_label_longer(self):
        wide = np.flatnonzero(self.coloured(1, scores=torch.tensor([0.934]))[85]).max()
        assert wide > np.flatnonzero(self.coloured(1)[85]).max() + 15

    def test_no_label_is_written_on_small_images(self):
        np.testing.assert_array_equal(self.coloured(1, size=240), outline(240, 100, 100, 200, 160))

    def test_labels_do_not_cover_each_other(self):
        named = self.coloured(2)
        assert named[83:100, 100:130].sum() > 250  # the first above
        assert named[160:177, 100:130].sum() > 250  # the second below

    def test_labels_stay_in_the_image(self):
        named = self.coloured(1, box=torch.tensor([[280.0, -20.0, 330.0, 320.0]]))
        assert named[0:17, 255:].sum() > 250

    @pytest.mark.parametrize("colour, ink", [((250, 250, 90), 0), ((20, 40, 160), 255)])
    def test_writing_stands_out_from_its_ground(self, colour, ink):
        classes = ClassMap(("plane",), (colour,))
        drawn = draw_instances(
            grey(300, 300), self.boxes, None, torch.tensor([0]), torch.tensor([0.5]), classes
        )
        assert is_colour(drawn, (ink,) * 3)[83:100].any()
