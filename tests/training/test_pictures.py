import numpy as np
import pytest
import torch
from PIL import Image

from geomtp.training.pictures import comparison, contact_sheet, displayable, save_picture
from geomtp.types import IGNORE, ClassMap, Predictions, Targets

CLASSES = ClassMap(("plane", "ship", "car"), ((200, 20, 30), (10, 180, 60), (20, 30, 210)))
NO_LABELS = torch.zeros(0, dtype=torch.long)
HEADING, GAP, LEGEND_LINE, LEGEND_GAP = 34, 8, 26, 8


def grey(height, width):
    return np.full((height, width, 3), 100, np.uint8)


def places(figure, label):
    """Rows and columns of the pixels that have the colour of this class."""
    return np.nonzero((np.array(figure) == np.array(CLASSES.palette[label])).all(axis=2))


def in_legend(figure, lines=1):
    rows = figure.height - lines * LEGEND_LINE - LEGEND_GAP
    return [k for k in range(len(CLASSES)) if (places(figure, k)[0] >= rows).any()]


def boxes(*rows):
    return torch.tensor(rows, dtype=torch.float32)


def everything(height=30, width=40):
    semantic = torch.zeros(height, width, dtype=torch.uint8)
    semantic[4:9, 4:9] = 1
    masks = torch.zeros(1, height, width, dtype=torch.bool)
    masks[0, 10:20, 10:20] = True
    logits = torch.nn.functional.one_hot(semantic.long(), 4).permute(2, 0, 1).float()
    box, rbox = boxes([10, 10, 20, 20]), boxes([20, 15, 12, 6, 0.4])
    score, label = torch.tensor([0.9]), torch.tensor([0])
    targets = Targets(box, label, masks, rbox, label, semantic, scene_class=1)
    predictions = Predictions(
        box, score, label, masks, rbox, score, label, logits, scene_logits=torch.eye(3)[2]
    )
    return targets, predictions


class TestComparison:
    def test_a_small_image_is_enlarged_by_a_whole_factor_with_its_labels(self):
        targets = Targets(boxes=boxes([3, 5, 13, 25]), box_labels=torch.tensor([1]))
        figure = comparison(grey(30, 40), targets, Predictions(), CLASSES, max_side_px=179)
        assert figure.height == HEADING + 120 + GAP + 120 + GAP + LEGEND_LINE + LEGEND_GAP
        rows, columns = places(figure, 1)
        columns, rows = columns[rows < HEADING + 120], rows[rows < HEADING + 120]
        assert rows.min() == HEADING + 4 * 5
        assert rows.max() == HEADING + 4 * 25 - 1
        assert columns.max() - columns.min() + 1 == 40
        left = columns.min() - 4 * 3  # of the panel
        assert figure.width == left + 160 + GAP
        assert (np.array(figure)[HEADING, left : left + 160] == 100).all()
        assert (np.array(figure)[HEADING, left - 1] == 255).all()

    def test_a_large_image_is_reduced_with_its_labels(self):
        semantic = torch.zeros(1200, 800, dtype=torch.uint8)
        semantic[300:600, 200:400] = 3
        figure = comparison(
            grey(1200, 800), Targets(semantic=semantic), Predictions(), CLASSES, max_side_px=300
        )
        assert figure.height == HEADING + 2 * (300 + GAP) + LEGEND_LINE + LEGEND_GAP
        rows, columns = places(figure, 2)
        columns, rows = columns[rows < HEADING + 300], rows[rows < HEADING + 300]
        assert (rows.min() - HEADING, rows.max() - HEADING) == (75, 149)
        assert columns.max() - columns.min() + 1 == 50

    def test_rotated_boxes_are_scaled_in_length_and_not_in_angle(self):
        rbox = boxes([20, 20, 20, 10, -torch.pi / 2])
        targets = Targets(rboxes=rbox, rbox_labels=torch.tensor([0]))
        figure = comparison(grey(40, 40), targets, Predictions(), CLASSES, max_side_px=120)
        rows, columns = places(figure, 0)
        columns = columns[rows < HEADING + 120]
        assert rows[rows < HEADING + 120].max() == HEADING + 3 * 30 - 1
        assert columns.max() - columns.min() + 1 == 3 * 10

    def test_there_is_one_column_per_task_and_truth_above_prediction(self):
        targets, predictions = everything()
        semantic = {"semantic": targets.semantic}
        instance = {"boxes": targets.boxes, "box_labels": targets.box_labels}
        rotated = {"rboxes": targets.rboxes, "rbox_labels": targets.rbox_labels}
        widths = [
            comparison(grey(30, 40), truth, Predictions(), CLASSES, max_side_px=200).width
            for truth in (
                Targets(**semantic),
                Targets(**semantic, **instance),
                Targets(**semantic, **rotated),
                Targets(**semantic, **instance, **rotated),
            )
        ]
        assert [width - widths[0] for width in widths[1:]] == [208, 208, 416]
        figure = comparison(grey(30, 40), targets, predictions, CLASSES, max_side_px=200)
        rows, columns = places(figure, 0)
        above = rows < HEADING + 150
        below = ~above & (rows < HEADING + 2 * 150 + GAP)
        assert above.sum() == below.sum()
        np.testing.assert_array_equal(rows[above] + 150 + GAP, rows[below])
        np.testing.assert_array_equal(columns[above], columns[below])

    def test_the_legend_holds_the_classes_that_appear_and_no_others(self):
        semantic = torch.zeros(20, 20, dtype=torch.uint8)
        semantic[:5] = 2
        targets = Targets(semantic=semantic)
        assert in_legend(comparison(grey(20, 20), targets, Predictions(), CLASSES)) == [1]
        sure = Predictions(
            rboxes=boxes([9, 9, 6, 4, 0]),
            rbox_scores=torch.tensor([0.6]),
            rbox_labels=torch.tensor([2]),
        )
        assert in_legend(comparison(grey(20, 20), targets, sure, CLASSES)) == [1, 2]
        strict = comparison(grey(20, 20), targets, sure, CLASSES, score_threshold=0.7)
        assert in_legend(strict) == [1]
        assert len(places(strict, 2)[0]) == 0

    def test_the_legend_takes_the_lines_that_it_needs(self):
        classes = ClassMap(tuple(f"a class with a long name, number {i}" for i in range(30)))
        semantic = torch.arange(900).reshape(30, 30).remainder(31).to(torch.uint8)
        figure = comparison(grey(30, 30), Targets(semantic=semantic), Predictions(), classes)
        pixels = np.array(figure)[HEADING + 2 * (510 + GAP) :]
        for colour in classes.palette:
            assert (pixels == np.array(colour)).all(axis=2).sum() == 16 * 16

    def test_padding_of_maps_is_cut_off(self):
        targets, predictions = everything()
        padded = torch.nn.functional.pad(targets.semantic, (0, 24, 0, 2), value=IGNORE)
        wider = Targets(
            targets.boxes,
            targets.box_labels,
            torch.nn.functional.pad(targets.masks, (0, 24, 0, 2)),
            semantic=padded,
        )
        exact = Targets(targets.boxes, targets.box_labels, targets.masks, semantic=targets.semantic)
        figures = [comparison(grey(30, 40), t, predictions, CLASSES) for t in (wider, exact)]
        np.testing.assert_array_equal(*(np.array(figure) for figure in figures))
        with pytest.raises(ValueError, match=r"labels \(30, 40\), image \(31, 40\)"):
            comparison(grey(31, 40), exact, predictions, CLASSES)

    @pytest.mark.parametrize("side", ["truth", "prediction", "both"])
    @pytest.mark.parametrize("task", ["semantic", "instance", "boxes", "rotated"])
    def test_no_objects_and_missing_tasks_are_drawn_without_class_colours(self, side, task):
        empty = {
            "semantic": (
                Targets(semantic=torch.zeros(30, 40, dtype=torch.uint8)),
                Predictions(semantic_logits=torch.eye(4)[0][:, None, None].expand(4, 30, 40)),
            ),
            "instance": (
                Targets(torch.zeros(0, 4), NO_LABELS, torch.zeros(0, 30, 40, dtype=torch.bool)),
                Predictions(
                    torch.zeros(0, 4), torch.zeros(0), NO_LABELS, torch.zeros(0, 30, 40) > 0
                ),
            ),
            "boxes": (
                Targets(torch.zeros(0, 4), NO_LABELS),
                Predictions(torch.zeros(0, 4), torch.zeros(0), NO_LABELS),
            ),
            "rotated": (
                Targets(rboxes=torch.zeros(0, 5), rbox_labels=NO_LABELS),
                Predictions(
                    rboxes=torch.zeros(0, 5), rbox_scores=torch.zeros(0), rbox_labels=NO_LABELS
                ),
            ),
        }
        targets, predictions = empty[task]
        figure = comparison(
            grey(30, 40),
            Targets() if side == "prediction" else targets,
            Predictions() if side == "truth" else predictions,
            CLASSES,
            max_side_px=200,
        )
        assert figure.height == HEADING + 2 * (150 + GAP)
        assert all(len(places(figure, k)[0]) == 0 for k in range(3))
        greys = (np.array(figure) == 100).all(axis=2).sum()
        assert 0 <= greys - 200 * 150 * (3 if side == "both" else 2) < 100  # a few from writing

    def test_no_task_at_all_leaves_the_image_and_what_the_scene_is(self):
        bare = comparison(grey(300, 400), Targets(), Predictions(), CLASSES)
        scene = comparison(
            grey(300, 400),
            Targets(scene_class=1),
            Predictions(scene_logits=torch.tensor([0.0, 9.0, 0.0])),
            CLASSES,
        )
        assert scene.height == bare.height + 2 * LEGEND_LINE  # two lines of text
        assert (np.array(bare) == 100).all(axis=2).sum() >= 300 * 400

    @pytest.mark.parametrize("size", [(1, 1), (3, 700), (700, 3), (31, 64)])
    def test_every_shape_of_image_works(self, size):
        targets, predictions = everything(*size)
        figure = comparison(grey(*size), targets, predictions, CLASSES, max_side_px=128)
        assert figure.width > 3 * 112

    def test_labels_beyond_the_classes_are_refused(self):
        targets = Targets(semantic=torch.full((8, 8), 4, dtype=torch.uint8))
        with pytest.raises(ValueError, match="3 classes, but labels of class 3"):
            comparison(grey(8, 8), targets, Predictions(), CLASSES)

    @pytest.mark.parametrize("image", [np.zeros((3, 8, 8)), np.zeros((8, 8), np.uint8)])
    def test_what_is_no_picture_is_refused(self, image):
        with pytest.raises(ValueError, match=r"\(H, W, 3\) of uint8"):
            comparison(image, Targets(), Predictions(), CLASSES)

    def test_half_precision_predictions_are_drawn(self):
        targets, predictions = everything()
        half = Predictions(
            boxes=predictions.boxes.bfloat16(),
            box_scores=predictions.box_scores.bfloat16(),
            box_labels=predictions.box_labels,
            semantic_logits=predictions.semantic_logits.bfloat16(),
        )
        full = Predictions(
            boxes=predictions.boxes,
            box_scores=half.box_scores.float(),
            box_labels=predictions.box_labels,
            semantic_logits=predictions.semantic_logits,
        )
        figures = [comparison(grey(30, 40), targets, p, CLASSES) for p in (half, full)]
        np.testing.assert_array_equal(*(np.array(figure) for figure in figures))


class TestContactSheet:
    def test_pictures_stand_row_by_row_in_columns_of_the_widest(self):
        colours = ["red", "lime", "blue", "black", "cyan"]
        sizes = [(10, 20), (30, 5), (15, 10), (12, 12), (20, 6)]
        pictures = [Image.new("RGB", s, c) for s, c in zip(sizes, colours, strict=True)]
        sheet = contact_sheet(pictures, columns=2)
        assert sheet.size == (8 + 20 + 8 + 30 + 8, 8 + 20 + 8 + 12 + 8 + 6 + 8)
        corners = [(8, 8), (36, 8), (8, 36), (36, 36), (8, 56)]
        for corner, picture in zip(corners, pictures, strict=True):
            box = (*corner, corner[0] + picture.width, corner[1] + picture.height)
            np.testing.assert_array_equal(np.array(sheet.crop(box)), np.array(picture))

    def test_fewer_pictures_than_columns(self):
        assert contact_sheet([Image.new("RGB", (10, 20))], columns=4).size == (26, 36)

    @pytest.mark.parametrize("count, columns", [(0, 2), (1, 0)])
    def test_nothing_to_show_is_refused(self, count, columns):
        with pytest.raises(ValueError, match="needs a picture and a column"):
            contact_sheet([Image.new("RGB", (1, 1))] * count, columns)


class TestDisplayable:
    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)

    def normalised(self, values, mean, std):
        shape = (-1, 1, 1)
        return (values - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)

    def test_eight_bit_images_come_back_exactly(self):
        pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
        values = torch.from_numpy(pixels).permute(2, 0, 1).float()
        shown = displayable(self.normalised(values, self.mean, self.std), self.mean, self.std)
        assert shown.dtype == np.uint8
        np.testing.assert_array_equal(shown, pixels)

    def test_an_overshoot_of_few_pixels_is_cut_and_not_stretched(self):
        values = torch.full((3, 20, 20), 100.0)
        values[:, 0, 0], values[:, 0, 1] = 300, -40
        shown = displayable(values, (0.0,) * 3, (1.0,) * 3)
        assert shown[0, 0].tolist() == [255] * 3
        assert shown[0, 1].tolist() == [0] * 3
        assert (shown[1:] == 100).all()

    @pytest.mark.parametrize("channels, first", [(1, [0, 0, 0]), (2, [0, 0, 0]), (5, [0, 1, 2])])
    def test_other_channel_counts(self, channels, first):
        values = 10.0 * torch.arange(1, channels + 1).view(-1, 1, 1).expand(channels, 4, 4)
        mean, std = torch.full((channels,), 5.0), torch.full((channels,), 2.0)
        shown = displayable((values - 5) / 2, mean, std)
        assert shown.shape == (4, 4, 3)
        assert shown[0, 0].tolist() == [10 * (k + 1) for k in first]

    @pytest.mark.parametrize("lowest, highest", [(0, 10_000), (-25, 5), (0.0, 1.0)])
    def test_other_ranges_are_stretched_between_percentiles(self, lowest, highest):
        ramp = torch.linspace(lowest, highest, 101)
        values = torch.stack([ramp, ramp.flip(0), ramp]).reshape(3, 1, 101)
        shown = displayable(values, (0.0,) * 3, (1.0,) * 3)[0]
        expected = np.clip((np.arange(101) - 2) / 96 * 255, 0, 255)
        assert np.abs(shown[:, 0] - expected).max() <= 0.51
        np.testing.assert_array_equal(shown[:, 1], shown[::-1, 0])

    def test_what_is_not_a_number_is_black(self):
        values = torch.full((3, 4, 4), 90.0)
        values[:, 1, 2] = torch.nan
        shown = displayable(values, (0.0,) * 3, (1.0,) * 3)
        assert shown[1, 2].tolist() == [0, 0, 0]
        assert (np.delete(shown.reshape(-1, 3), 6, axis=0) == 90).all()

    def test_another_number_of_means_is_refused(self):
        with pytest.raises(ValueError, match=r"image \(4, 8, 8\), 3 means"):
            displayable(torch.zeros(4, 8, 8), self.mean, self.std)


class TestSaving:
    def test_what_is_saved_is_read_whatever_the_folder(self, tmp_path):
        pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
        path = tmp_path / "pictures" / "deep" / "step.png"
        save_picture(Image.fromarray(pixels), path)
        with Image.open(path) as read:
            assert read.format == "PNG"
            np.testing.assert_array_equal(np.array(read), pixels)
        assert [p.name for p in path.parent.iterdir()] == ["step.png"]

    def test_a_failed_write_keeps_the_old_picture(self, tmp_path):
        save_picture(Image.new("RGB", (3, 3), "red"), tmp_path / "a.png")
        with pytest.raises((OSError, ValueError)):
            save_picture(Image.new("CMYK", (3, 3)), tmp_path / "a.png")
        assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
        with Image.open(tmp_path / "a.png") as read:
            assert read.getpixel((0, 0)) == (255, 0, 0)
