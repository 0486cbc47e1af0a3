"""Memory does not grow with the scene."""

import os

import pytest

from benchmarks.predict_memory import SQUARE_PX, measured

CACHE_MIB = 256  # of tiles that GDAL keeps


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="Linux tells the peak")
def test_a_scene_nine_times_as_large_needs_no_more_memory(tmp_path):
    figures = []
    for side in (2016, 6048):
        (tmp_path / str(side)).mkdir()
        figures.append(measured(tmp_path / str(side), side, window=256))
        assert figures[-1]["objects"] == (side // SQUARE_PX) ** 2
    small, large = figures
    # Four blocks against 25. Only what is kept of blocks and objects may differ (36 thousand boxes,
    # half a kilobyte each), and tiles of files, which are 16 and 146 MB here.
    assert large["peak_mib"] < small["peak_mib"] + CACHE_MIB / 2 + 40
    assert large["windows"] == 32**2
