import csv

import matplotlib
import numpy as np
import pytest
from PIL import Image

from geomtp.training.curves import draw_curves, panel_rows, read_metrics, smoothed

HEADING = b"step,name,value\n"


def written(tmp_path, content):
    path = tmp_path / "metrics.csv"
    path.write_bytes(content)
    return path


class TestReading:
    def test_rows_become_curves_in_the_order_of_the_file(self, tmp_path):
        path = tmp_path / "metrics.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["step", "name", "value"])
            writer.writerow([10, "loss/total", 2.5])
            writer.writerow([10, 'loss/semantic/a, "b"/größe', 1e-7])
            writer.writerow([20, "loss/total", 2.25])
        metrics = read_metrics(path)
        assert metrics == {
            "loss/total": [(10, 2.5), (20, 2.25)],
            'loss/semantic/a, "b"/größe': [(10, 1e-7)],
        }
        assert list(metrics) == ["loss/total", 'loss/semantic/a, "b"/größe']

    def test_later_rows_replace_earlier_ones_and_steps_ascend(self, tmp_path):
        path = written(tmp_path, HEADING + b"10,lr,1\n20,lr,2\n30,lr,3\n20,lr,5\n5,lr,7\n")
        assert read_metrics(path) == {"lr": [(5, 7.0), (10, 1.0), (20, 5.0), (30, 3.0)]}

    @pytest.mark.parametrize("half", ["20,lr,0.12", "20,lr,", "20,lr", "2", "20,grö".encode()[:-1]])
    def test_a_half_written_last_line_is_left_out(self, tmp_path, half):
        half = half if isinstance(half, bytes) else half.encode()
        assert read_metrics(written(tmp_path, HEADING + b"10,lr,1\n" + half)) == {"lr": [(10, 1.0)]}

    def test_a_row_cut_by_a_crash_is_left_out_and_the_rest_is_read(self, tmp_path):
        path = written(tmp_path, HEADING + b"10,lr,1\n20,l20,lr,2\nx,lr,3\n\n30,lr,4\n")
        assert read_metrics(path) == {"lr": [(10, 1.0), (30, 4.0)]}

    def test_windows_lines_byte_order_mark_and_special_numbers(self, tmp_path):
        path = written(
            tmp_path, b"\xef\xbb\xbfstep,name,value\r\n1,a,nan\r\n2,a,inf\r\n3,a,1e3\r\n"
        )
        steps, values = zip(*read_metrics(path)["a"], strict=True)
        assert steps == (1, 2, 3)
        np.testing.assert_array_equal(values, [np.nan, np.inf, 1000])

    def test_a_file_with_the_heading_alone_holds_nothing(self, tmp_path):
        assert read_metrics(written(tmp_path, HEADING)) == {}

    @pytest.mark.parametrize("content", [b"", b"step,value\n1,2\n", b"\x89PNG\r\n\x1a\n\x00"])
    def test_another_file_is_refused(self, tmp_path, content):
        with pytest.raises(ValueError, match="begin with the line step,name,value"):
            read_metrics(written(tmp_path, content))

    def test_a_missing_file_is_named(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"no metrics at .*metrics\.csv"):
            read_metrics(tmp_path / "metrics.csv")


class TestSmoothing:
    def test_few_values_stay(self):
        values = np.arange(19.0) ** 2
        assert smoothed(values) is values

    def test_a_constant_and_the_inside_of_a_line_stay(self):
        np.testing.assert_allclose(smoothed(np.full(500, 0.3)), 0.3)
        line = np.arange(500.0)
        np.testing.assert_allclose(smoothed(line)[13:-13], line[13:-13])

    def test_it_is_a_weighted_mean_of_neighbours_that_are_there(self):
        rng = np.random.default_rng(0)
        values = rng.normal(size=120)
        values[rng.random(120) < 0.1] = np.nan
        radius = 3  # 120 / 40
        bell = [np.cos(np.pi * k / (2 * radius + 2)) ** 2 for k in range(-radius, radius + 1)]
        for i, found in enumerate(smoothed(values)):
            pairs = [
                (values[i + k], bell[k + radius])
                for k in range(-radius, radius + 1)
                if 0 <= i + k < 120 and np.isfinite(values[i + k])
            ]
            assert found == pytest.approx(sum(v * w for v, w in pairs) / sum(w for _, w in pairs))

    def test_where_nothing_is_there_nothing_comes_out(self):
        values = np.ones(100)
        values[40:60] = np.nan
        assert np.isnan(smoothed(values)[45:55]).all()
        assert np.isfinite(smoothed(values)[:40]).all()


class TestPanels:
    def test_lines_of_one_panel_are_the_sources_in_the_order_of_the_tasks(self):
        curve = [(1, 0.5)]
        names = [
            "loss/rotated/box/town",
            "val/town/rotated/ap50",
            "loss/semantic/decode/town",
            "loss/semantic/decode/harbour",
            "lr",
            "val/harbour/rotated/ap50",
            "val/town/semantic/miou",
            "loss/total",
            "seconds",
        ]
        rows = panel_rows(dict.fromkeys(names, curve))
        assert [[(title, list(lines)) for title, lines in row] for row in rows] == [
            [
                ("loss/total", [""]),
                ("lr", [""]),
                ("loss/semantic/decode", ["town", "harbour"]),
                ("loss/rotated/box", ["town"]),
            ],
            [("seconds", [""])],
            [("val/semantic/miou", ["town"]), ("val/rotated/ap50", ["town", "harbour"])],
        ]

    def test_empty_curves_have_no_panel(self):
        assert panel_rows({"lr": [], "loss/total": []}) == []


class TestDrawing:
    def metrics(self, sources, points):
        steps = range(1, points + 1)
        metrics = {"loss/total": [(s, 1 + 1 / s) for s in steps], "lr": [(s, 1e-4) for s in steps]}
        for i, source in enumerate(sources):
            metrics[f"loss/rotated/box/{source}"] = [(s, (i + 1) / s) for s in steps]
            metrics[f"val/{source}/rotated/ap50"] = [(points, 0.1 * i)]
        return metrics

    @pytest.mark.parametrize("points", [1, 30, 3000])
    def test_every_source_has_its_colour(self, tmp_path, points):
        draw_curves(self.metrics(["town", "harbour"], points), tmp_path / "new" / "curves.png")
        with Image.open(tmp_path / "new" / "curves.png") as picture:
            assert picture.format == "PNG"
            pixels = np.array(picture.convert("RGB"))
        for colour, there in [((0, 114, 178), True), ((213, 94, 0), True), ((0, 158, 115), False)]:
            assert (pixels == colour).all(axis=2).any() == there
        assert [p.name for p in (tmp_path / "new").iterdir()] == ["curves.png"]

    def test_the_picture_grows_with_its_panels(self, tmp_path):
        sizes = []
        for metrics in ({}, {"lr": [(1, 1.0)]}, self.metrics(["town"], 5)):
            draw_curves(metrics, tmp_path / "curves.png")
            with Image.open(tmp_path / "curves.png") as picture:
                sizes.append(picture.size)
        assert sizes == [(385, 253), (385, 253), (1155, 539)]

    @pytest.mark.parametrize(
        "values", [[np.nan] * 40, [np.inf, 1.0], [0.0] * 40, [-1.0, 2.0], [1e-9, 1e9], [1e308, 1.0]]
    )
    def test_odd_values_are_drawn(self, tmp_path, values):
        draw_curves({"loss/total": list(enumerate(values))}, tmp_path / "curves.png")
        assert (tmp_path / "curves.png").stat().st_size > 1000

    def test_the_ending_is_the_format_and_an_unknown_one_leaves_nothing(self, tmp_path):
        draw_curves({"lr": [(1, 1.0)]}, tmp_path / "curves.svg")
        assert b"<svg" in (tmp_path / "curves.svg").read_bytes()
        with pytest.raises(ValueError, match="xyz"):
            draw_curves({"lr": [(1, 1.0)]}, tmp_path / "curves.xyz")
        assert [p.name for p in tmp_path.iterdir()] == ["curves.svg"]

    def test_settings_of_matplotlib_stay_as_they_are(self, tmp_path):
        before = dict(matplotlib.rcParams)
        draw_curves(self.metrics(["town"], 3), tmp_path / "curves.png")
        assert dict(matplotlib.rcParams) == before
