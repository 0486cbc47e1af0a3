"""Windows leave no seams in the maps of our models, whose windows see more than their cells.

Such a model says something else of a window than of the whole scene, everywhere: its attention and
pooling reach over all it sees. A seam would be a line along the borders of cells where it differs
more, or where classes change more often, than elsewhere.
"""

import numpy as np
import pytest
import torch

from geomtp.inference.scene_result import MapTiles
from geomtp.inference.windows.blocks import Grid
from geomtp.inference.windows.window_model import WindowModel
from geomtp.inference.work.block_work import Job, look_at_blocks
from geomtp.inference.work.work_folder import WorkFolder
from geomtp.model import ModelConfig, SourceConfig, build_model
from geomtp.rasters import scene_of_array
from geomtp.types import Batch, ClassMap, Targets

SIDE, WINDOW = 512, 128


def scene(seed, side=SIDE):
    """Patches of 29 pixels of four brightnesses under noise (H, W, 3), and their numbers (H, W)."""
    rng = np.random.default_rng(seed)
    count = side // 29 + 2
    classes = np.kron(rng.integers(0, 4, (count, count)), np.ones((29, 29), dtype=int))
    x, y = rng.integers(0, 29, 2)
    classes = classes[y : y + side, x : x + side]
    pixels = 40 + 50 * classes[..., None] + rng.normal(0, 30, (side, side, 3))
    return pixels.astype(np.float32), classes


def images_of(pixels):
    """As the model sees them: (1, 3, H, W)."""
    return (torch.from_numpy(pixels).permute(2, 0, 1)[None] - 115) / 60


def trained(encoder, steps):
    """A model that has learned to tell the brightnesses apart, in so many steps of four windows."""
    torch.manual_seed(0)
    source = SourceConfig(ClassMap(tuple("abc")), ("semantic",), (115.0,) * 3, (60.0,) * 3)
    config = ModelConfig(encoder, WINDOW, {"made": source}, semantic_channels=32)
    model = build_model(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for step in range(steps):
        pairs = [scene(1000 + 4 * step + k, WINDOW) for k in range(4)]
        batch = Batch(
            torch.cat([images_of(pixels) for pixels, _ in pairs]),
            tuple(Targets(semantic=torch.from_numpy(c.astype(np.uint8))) for _, c in pairs),
            ((WINDOW, WINDOW),) * 4,
            "made",
        )
        optimizer.zero_grad()
        loss = sum(model.loss({"made": batch}).values())
        loss.backward()
        optimizer.step()
    return model.eval()


def windowed(model, pixels, overlap, folder):
    """The map (H, W) of a scene by windows, and the middles of its cells' borders."""
    stride = WINDOW - round(WINDOW * overlap)
    with scene_of_array(pixels, channels=3, place=None) as opened:
        grid = Grid((SIDE, SIDE), WINDOW, stride)
        job = Job((opened,), grid, WindowModel(model, "made", torch.device("cpu")))
        folder.mkdir()
        work = WorkFolder(folder, len(grid))
        look_at_blocks(
            job,
            range(len(grid)),
            lambda number, result: result.save(work.block(number).path),
            lambda seen, skipped: None,
        )
        tiles = MapTiles(work, grid, "semantic", None)
        ((_, found),) = tiles
    axis = grid.looks[0][0]
    return found, [round(axis.edge(cell)) for cell in range(1, axis.cells)]


def more_at_borders(values, borders):
    """How much larger values (H, W) are within 4 pixels of a border of cells than elsewhere."""
    near = np.abs(np.arange(SIDE)[:, None] + 0.5 - np.array(borders)).min(axis=1) < 4
    beside = near[:, None] | near[None]
    return values[beside].mean() / values[~beside].mean()


def changes(found):
    """Where the class differs from that of the pixel to the left or above."""
    padded = np.pad(found, ((1, 0), (1, 0)), mode="edge")
    return (found != padded[1:, :-1]) | (found != padded[:-1, 1:])


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["resnet10t", "vit_t_rvsa"])
def test_maps_of_our_models_have_no_seams(tmp_path, encoder):
    pixels, classes = scene(0)
    model = trained(encoder, steps=60)
    with torch.no_grad():
        whole = model.predict(images_of(pixels), [(SIDE, SIDE)], "made")[0].semantic.numpy()
    assert (whole == classes).mean() > 0.9
    found, borders = windowed(model, pixels, 0.25, tmp_path / "overlap")
    assert borders == [112, 208, 304, 400]
    differ = found != whole
    assert differ.mean() < 0.03
    assert more_at_borders(differ, borders) < 2  # 1.09 to 1.46 by seed
    assert more_at_borders(changes(found), borders) < 1.1 * more_at_borders(changes(whole), borders)
    cut, its_borders = windowed(model, pixels, 0.0, tmp_path / "none")
    assert more_at_borders(cut != whole, its_borders) > 3  # so the measure sees seams
