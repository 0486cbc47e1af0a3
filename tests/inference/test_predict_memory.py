"""Memory does not grow with the scene."""

import json
import subprocess
import sys

import numpy as np
import pytest
import rasterio

PROGRAM = """
import json, resource, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from geomtp.inference import predict as module
from geomtp.inference.predict_config import Predict
from geomtp.inference.window_model import WindowModel
from tests.inference.stub_models import Blur
scene, out = sys.argv[1:]
Path(out + ".safetensors").touch()
stand_in = WindowModel(Blur(), "made", torch.device("cpu"))
config = Predict(checkpoint=Path(out + ".safetensors"), images=(scene,), out=Path(out), window=256)
(result,) = module.predict_scenes(config, print, model=stand_in)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"peak_mib": peak, "windows": result.summary["windows"]}))
"""


def peak_mib(folder, side):
    path = folder / f"{side}.tif"
    rows = np.random.default_rng(0).integers(0, 255, (256, side), dtype=np.uint8)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=side,
        width=side,
        count=1,
        dtype="uint8",
        tiled=True,
        blockxsize=256,
        blockysize=256,
    ) as file:
        for top in range(0, side, 256):
            height = min(256, side - top)
            file.write(rows[:height], 1, window=((top, top + height), (0, side)))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path), str(folder / f"out{side}")],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])["peak_mib"]


@pytest.mark.slow
def test_a_scene_nine_times_as_large_needs_no_more_memory(tmp_path):
    small, large = (peak_mib(tmp_path, side) for side in (2000, 6000))
    # Four blocks against twenty-five: only numbers of blocks, and tiles that GDAL keeps (of 256 MiB
    # at most 6000² of the scene and 6000² of the map) may differ.
    assert large < small + 2 * 6000**2 / 2**20 + 20
