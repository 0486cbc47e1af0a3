"""What the store of images counts while others come and go."""

import os

from geomtp.serving import raster_store
from geomtp.serving.raster_store import bytes_below


def test_files_that_go_while_they_are_counted_take_nothing(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "kept").write_bytes(bytes(5))
    (tmp_path / "a" / "going").write_bytes(bytes(70))
    (tmp_path / "here").write_bytes(bytes(300))
    assert bytes_below(tmp_path) == 375
    walk = os.walk

    def while_others_remove(folder):
        for inner, folders, files in walk(folder):
            (tmp_path / "a" / "going").unlink(missing_ok=True)
            yield inner, folders, [*files, "going"] if inner.endswith("a") else files

    monkeypatch.setattr(raster_store.os, "walk", while_others_remove)
    assert bytes_below(tmp_path) == 305
