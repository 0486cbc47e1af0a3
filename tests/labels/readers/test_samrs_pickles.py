import os
import pickle

import numpy as np
import pytest

from geomtp.geometry import encode_rle
from geomtp.labels import GenerateLabels, generate
from tests.labels.layouts import image, read

SIZE = (50, 70)
MASKS = np.zeros((2, *SIZE), dtype=bool)
MASKS[0, 10:20, 30:45] = True
MASKS[1, 5:9, 6:30] = True
RLES = encode_rle(MASKS)
CORNERS = np.array([[30, 10], [45, 10], [45, 20], [30, 20]], dtype=np.float64)


def entry(rle, name="ship", **changes):
    """As the release has it: numpy numbers beside plain ones."""
    mask = {"size": list(SIZE), "counts": rle.decode("ascii")}
    return {
        "mask": mask, "rbox": CORNERS, "rhbox": np.array([30.0, 10, 45, 20]), "category": name,
        "label": np.int64(5), "size": np.int64(150),
    } | changes  # fmt: skip


def write(folder, content, protocol=None):
    image(folder / "images/P1.png", *SIZE)
    (folder / "ins").mkdir(exist_ok=True)
    data = content if isinstance(content, bytes) else pickle.dumps(content, protocol=protocol)
    (folder / "ins/P1.pkl").write_bytes(data)
    return read("samrs", folder / "images", folder / "ins")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_masks_corners_and_names(tmp_path, protocol):
    found, report = write(tmp_path, [entry(RLES[0]), entry(RLES[1], "plane", rbox=None)], protocol)
    first, second = found["P1.png"].objects
    assert (first.name, first.rle, second.name, second.rle) == ("ship", RLES[0], "plane", RLES[1])
    np.testing.assert_array_equal(first.polygons[0][0], CORNERS)
    assert second.polygons is None
    assert report.left_out == ()


def test_pickles_of_the_older_numpy_are_read(tmp_path):
    data = pickle.dumps([entry(RLES[0])], protocol=2)
    for new, old in ((b"numpy._core.multiarray", b"numpy.core.multiarray"),):
        assert new in data or old in data
        data = data.replace(new, old)
    assert len(write(tmp_path, data)[0]["P1.png"].objects) == 1


class _Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.system, (f"touch {self.path}",))


def test_nothing_else_is_ever_run(tmp_path):
    found, report = write(tmp_path, [entry(RLES[0]), _Evil(tmp_path / "owned")])
    assert not (tmp_path / "owned").exists()
    assert found == {}
    assert "it asks for posix.system, which no label needs" in report.examples[0]
    _, report = write(tmp_path, b"cbuiltins\neval\n(S'1'\ntR.")
    assert "builtins.eval" in report.examples[0]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"category": 3}, "must be a class name"),
        ({"mask": {"size": [1, 2], "counts": "0"}}, "has size [1, 2], the image [50, 70]"),
        ({"mask": {"size": list(SIZE), "counts": "\x01"}}, "not a compressed run-length"),
        ({"mask": {"size": list(SIZE)}}, "it has no 'counts'"),
        ({"mask": 3}, "it cannot be understood"),
        ({"rbox": np.eye(5, 2)}, "must have four corners"),
    ],
)
def test_what_cannot_be_understood_is_left_out(tmp_path, change, complaint):
    found, report = write(tmp_path, [entry(RLES[0], **change), entry(RLES[1])])
    assert len(found["P1.png"].objects) == 1
    assert report.count("malformed") == 1
    assert complaint in report.examples[0]


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps({"a": 1}), b"\x80\x04\x95"])
def test_what_is_no_list_is_left_out(tmp_path, content):
    found, report = write(tmp_path, content)
    assert (found, report.count("malformed")) == ({}, 1)


def test_the_engine_takes_the_masks_as_they_are(tmp_path):
    write(tmp_path, [entry(RLES[0]), entry(RLES[1], "plane", rbox=None)])
    config = GenerateLabels(
        tmp_path / "images", tmp_path / "ins", "samrs", tmp_path / "out", segmenter="polygon"
    )
    row = generate(config, lambda _: None).store[0]
    assert row.rles == tuple(RLES)
    assert row.boxes.tolist() == [[30, 10, 45, 20], [6, 5, 30, 9]]
    np.testing.assert_allclose(row.rboxes[:, :4], [[37.5, 15, 15, 10], [18, 7, 24, 4]], atol=1e-4)
