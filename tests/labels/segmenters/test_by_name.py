import pytest

from geomtp.labels import SEGMENTERS, BoxSegmenter, PolygonSegmenter
from geomtp.labels.segmenters.by_name import SEGMENTER_NAMES, create_segmenter
from geomtp.labels.segmenters.grabcut import GrabCutSegmenter
from geomtp.labels.segmenters.sam import SamSegmenter
from tests.labels.tiny_sam import save


def test_by_name(tmp_path):
    assert SEGMENTER_NAMES == ("box", "polygon", "grabcut", "sam")
    assert isinstance(create_segmenter("box"), BoxSegmenter)
    assert isinstance(create_segmenter("polygon"), PolygonSegmenter)
    assert create_segmenter("box") is SEGMENTERS["box"]


def test_grabcut():
    pytest.importorskip("cv2", reason="needs the extra 'grabcut'")
    assert isinstance(create_segmenter("grabcut"), GrabCutSegmenter)


def test_sam(tmp_path):
    pytest.importorskip("transformers", reason="needs the extra 'sam'")
    folder = save("sam", tmp_path / "sam")
    found = create_segmenter("sam", weights=folder, prompt="r", device="cpu", boxes_per_batch=3)
    assert isinstance(found, SamSegmenter)
    with pytest.raises(ValueError, match="unknown prompt 'x'; known: h, r, rh"):
        create_segmenter("sam", weights=folder, prompt="x")


def test_mistakes_get_a_sentence():
    with pytest.raises(ValueError, match="'sam' needs weights: give the folder"):
        create_segmenter("sam")
    with pytest.raises(ValueError, match="'box' takes no weights; only 'sam' does"):
        create_segmenter("box", weights="folder")
    with pytest.raises(ValueError, match="unknown segmenter 'sama'; known: box, polygon, grabcut"):
        create_segmenter("sama")
