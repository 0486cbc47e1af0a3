import math
from collections import Counter

import numpy as np
import pytest
import shapely
from PIL import Image

from geomtp.geometry import decode_rle, encode_rle
from geomtp.labels import AnnotatedObject, Annotations, BoxSegmenter, PolygonSegmenter, ReadNotes
from geomtp.labels.masks.run_lengths import rle_area, rle_in_window, rle_of_part
from geomtp.labels.outlines import geometry_of
from geomtp.labels.shapes import rotated_boxes
from geomtp.labels.tiles import tiling as module
from geomtp.labels.tiles.tiling import Tiling, cut, objects_in_windows, tile_windows
from geomtp.rasters import Georeference, georeference, read_window, write_raster
from tests.golden_cases import GoldenCase
from tests.labels.layouts import image, read, text
from tests.labels.readers.test_geojson import collection, feature

UTM = Georeference("EPSG:32633", (0.5, 0.0, 500_000.25, 0.0, -0.5, 4_649_776.1))
TURNED = Georeference("EPSG:3857", (0.3, 0.1, 1234.56, 0.1, -0.3, 6543.21))
CASES = {  # the tool's size and gap at rate 1, and the rates, that give each case's sizes and gaps
    "0": (1024, 200, (1.0,)),
    "1": (1024, 200, (1.0,)),
    "2": (1024, 200, (1.0,)),
    "3": (1024, 200, (0.5, 1.0, 1.5)),
    "4": (1024, 200, (1.0,)),
    "5": (1024, 824, (1.0,)),
}


def quad_object(quad, **others):
    ring = np.asarray(quad, dtype=np.float64).reshape(-1, 2)
    return AnnotatedObject("ship", "here", polygons=((ring,),), **others)


@pytest.mark.parametrize("case", CASES)
def test_windows_and_objects_as_the_reference(case):
    golden = GoldenCase.read("dota_tiling")
    config = golden.info["config"][case]
    size_px, gap_px, rates = CASES[case]
    tiling = Tiling(size_px, gap_px, rates)
    pairs = list(zip(config["sizes"], config["gaps"], strict=True))
    assert tiling.sizes_and_gaps_px == pairs
    size_hw = (config["height"], config["width"])
    windows = tile_windows(size_hw, tiling)
    np.testing.assert_array_equal(windows, golden.arrays[f"{case}/windows"])
    objects = [quad_object(quad) for quad in golden.arrays[f"{case}/polys"]]
    rows = objects_in_windows(objects, size_hw, windows, tiling.minimum_kept)
    want = golden.arrays[f"{case}/window_objects"]
    want = want[np.lexsort((want[:, 1], want[:, 0]))]
    np.testing.assert_array_equal(rows[:, :2], want[:, :2])
    # The reference divides by areas in float32, so that half of the objects that lie wholly inside
    # count as truncated: those whose area rounds up. Here they do not.
    outlines = np.array([geometry_of(objects[i].polygons) for i in rows[:, 1]])
    parts = shapely.intersection(outlines, shapely.box(*windows[rows[:, 0]].T.astype(float)))
    rounded = shapely.area(outlines).astype(np.float32).astype(np.float64)
    np.testing.assert_array_equal(shapely.area(parts) / rounded < 1, want[:, 2])
    corners = shapely.get_coordinates(outlines).reshape(len(rows), 5, 2)
    window = windows[rows[:, 0], None]
    outside = (corners < window[..., :2]) | (corners > window[..., 2:])
    np.testing.assert_array_equal(rows[:, 2], outside.any(axis=(1, 2)))


@pytest.mark.parametrize("size_hw", [(1, 1), (600, 3000), (613, 90), (614, 615), (2100, 1025)])
@pytest.mark.parametrize("rates", [(1.0,), (0.5, 1.0, 1.5), (2.0, 0.25)])
def test_every_pixel_lies_in_a_window(size_hw, rates):
    seen = np.zeros(size_hw, dtype=bool)
    for x1, y1, x2, y2 in tile_windows(size_hw, Tiling(1024, 200, rates)):
        seen[y1:y2, x1:x2] = True
        assert x1 >= 0
        assert y1 >= 0
        assert x2 <= max(size_hw[1], x2 - x1)
        assert y2 <= max(size_hw[0], y2 - y1)
    assert seen.all()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"gap_px": 1024}, "gap of tiles must be 0 or more and smaller"),
        ({"gap_px": -1}, "gap of tiles must be 0 or more"),
        ({"size_px": 0, "gap_px": 0}, "gap of tiles"),
        ({"rates": ()}, "rates must be positive"),
        ({"rates": (0.0,)}, "rates must be positive"),
        ({"rates": (math.nan,)}, "rates must be positive"),
        ({"rates": (1.0, 1.0)}, "equal size twice"),
        ({"minimum_kept": 0.0}, "minimum_kept lies above 0"),
        ({"cut_boxes": "half"}, "'whole' or 'part', got 'half'"),
    ],
)
def test_settings_that_give_no_tiles(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        Tiling(**settings)


@pytest.fixture(params=["tif16", "tif16 turned", "png"])
def scene(request, tmp_path):
    """A scene of 300 × 410 pixels that are all different, and its place."""
    pixels = np.arange(300 * 410, dtype=np.uint32).reshape(300, 410)
    path = tmp_path / "images/sub/scene.png"
    path.parent.mkdir(parents=True)
    if request.param == "png":
        bands = np.stack([pixels >> 16, (pixels >> 8) & 255, pixels & 255], axis=2)
        Image.fromarray(bands.astype(np.uint8)).save(path)
        return path, bands.astype(np.uint8), None
    bands = np.stack([pixels & 0xFFFF, pixels >> 8], axis=2).astype(np.uint16)
    place = TURNED if "turned" in request.param else UTM
    write_raster(path.with_suffix(".tif"), bands, place)
    return path.with_suffix(".tif"), bands, place


@pytest.mark.parametrize("held_bytes", [0, 250_000, 2**28])  # by window, by row, whole
def test_tiles_hold_the_scenes_pixels_and_its_place(scene, tmp_path, monkeypatch, held_bytes):
    monkeypatch.setattr(module, "_HELD_BYTES", held_bytes)
    path, pixels, place = scene
    annotations = Annotations(f"sub/{path.name}", (300, 410), ())
    tiles = cut(annotations, path, Tiling(128, 32, (1.0, 0.5)), tmp_path / "tiles")
    windows = tile_windows((300, 410), Tiling(128, 32, (1.0, 0.5))).tolist()
    assert len(tiles) == len(windows) == 3 * 4 + 2 * 2
    for tile, (x1, y1, x2, y2) in zip(tiles, windows, strict=True):
        assert tile.image == f"sub/scene__{x2 - x1}__{x1}___{y1}.tif"
        file = tmp_path / "tiles" / tile.image
        found = read_window(file)
        assert found.dtype == pixels.dtype
        np.testing.assert_array_equal(found, pixels[y1:y2, x1:x2])
        assert tile.size_hw == found.shape[:2]
        if place is None:
            assert georeference(file) is None
            continue
        corners = np.array([(0, 0), (128, 0), (128, 128), (0, 128)])
        shift = np.array([x1, y1])
        there = georeference(file)
        assert there.crs == place.crs
        np.testing.assert_allclose(
            there.to_map(corners), place.to_map(corners + shift), rtol=0, atol=1e-9
        )
        np.testing.assert_allclose(
            place.to_pixels(there.to_map(corners)), corners + shift, rtol=0, atol=1e-6
        )


def test_a_tile_of_a_web_mercator_tile_gets_its_place_too(tmp_path):
    path = image(tmp_path / "t-619212-523272-20.png", 256, 256)
    tiles = cut(Annotations(path.name, (256, 256), ()), path, Tiling(128, 0), tmp_path / "out")
    there = georeference(tmp_path / "out" / tiles[3].image)
    np.testing.assert_allclose(
        there.to_map([[0, 0]]), georeference(path).to_map([[128, 128]]), rtol=0, atol=1e-9
    )


def test_an_image_smaller_than_a_tile_is_one_smaller_tile(tmp_path):
    path = image(tmp_path / "a.png", 100, 120)
    sticking_out = quad_object([100, 50, 140, 50, 140, 70, 100, 70])
    tiles = cut(Annotations("a.png", (100, 120), (sticking_out,)), path, Tiling(), tmp_path / "out")
    assert [tile.image for tile in tiles] == ["a__1024__0___0.tif"]
    assert tiles[0].size_hw == (100, 120)
    assert read_window(tmp_path / "out" / tiles[0].image).shape == (100, 120, 1)
    assert tiles[0].objects[0].difficulty == 0  # the window holds it, the image does not
    np.testing.assert_array_equal(tiles[0].objects[0].polygons[0][0], sticking_out.polygons[0][0])


def two_tiles(tmp_path, *objects, notes=None, **settings):
    """The objects of the two tiles of 100 × 100 of an image of 100 × 160."""
    path = image(tmp_path / "a.png", 100, 160)
    left, right = cut(
        Annotations("a.png", (100, 160), objects),
        path,
        Tiling(100, 40, **settings),
        tmp_path / "out",
        notes,
    )
    assert (left.size_hw, right.size_hw) == ((100, 100), (100, 100))
    return left.objects, right.objects


def test_an_object_wholly_inside_is_only_moved(tmp_path):
    hole = np.array([(72.0, 32), (78, 32), (75, 38)])
    outline = np.array([(70.0, 30), (90, 30), (90, 50), (70, 50)])
    mask = np.zeros((100, 160), dtype=bool)
    mask[30:50, 70:90] = True
    everything = AnnotatedObject(
        "ship",
        "a line 1",
        box_xyxy=(70.0, 30.0, 90.0, 50.0),
        rbox_cxcywha=(80.0, 40.0, 20.0, 10.0, 0.3),
        polygons=((outline, hole),),
        rle=encode_rle(mask[None])[0],
        difficulty=1,
        ignore=True,
    )
    left, right = two_tiles(tmp_path, everything)
    for found, shift in ((left[0], 0.0), (right[0], 60.0)):
        assert found.box_xyxy == (70.0 - shift, 30.0, 90.0 - shift, 50.0)
        assert found.rbox_cxcywha == (80.0 - shift, 40.0, 20.0, 10.0, 0.3)
        np.testing.assert_array_equal(found.polygons[0][0], outline - (shift, 0))
        np.testing.assert_array_equal(found.polygons[0][1], hole - (shift, 0))
        np.testing.assert_array_equal(
            decode_rle([found.rle], (100, 100))[0], mask[:, int(shift) : int(shift) + 100]
        )
        assert (found.name, found.where) == ("ship", "a line 1")
        assert (found.difficulty, found.ignore) == (1, True)


def test_a_cut_object_by_hand(tmp_path):
    # 40 wide, 30 of them (0.75) in the left tile, 40 in the right one
    bar = quad_object([70, 20, 110, 20, 110, 40, 70, 40], difficulty=1)
    left, right = two_tiles(tmp_path, bar)
    assert [len(left), len(right)] == [1, 1]
    assert left[0].rbox_cxcywha == pytest.approx((90, 30, 40, 20, 0), abs=1e-9)
    assert left[0].difficulty == 2
    assert sorted(left[0].polygons[0][0].tolist()) == [[70, 20], [70, 40], [100, 20], [100, 40]]
    assert right[0].difficulty == 1
    assert rotated_boxes(right)[0] == pytest.approx((30, 30, 40, 20, 0), abs=1e-9)
    annotations = Annotations("a.png", (100, 100), left)
    for segmenter in (PolygonSegmenter(), BoxSegmenter()):
        assert rle_area(segmenter.segment(tmp_path, annotations)[0].rle) == 30 * 20
    left, _ = two_tiles(tmp_path, bar, cut_boxes="part")
    assert rotated_boxes(left)[0] == pytest.approx((85, 30, 30, 20, 0), abs=1e-9)
    left, right = two_tiles(tmp_path, bar, minimum_kept=0.76)
    assert [len(left), len(right)] == [0, 1]


@pytest.mark.parametrize("cut_boxes", ["whole", "part"])
def test_each_shape_alone_is_cut_alike(tmp_path, cut_boxes):
    mask = np.zeros((100, 160), dtype=bool)
    mask[20:40, 70:110] = True
    shapes = {
        "polygons": quad_object([70, 20, 110, 20, 110, 40, 70, 40]).polygons,
        "rle": encode_rle(mask[None])[0],
        "rbox_cxcywha": (90.0, 30.0, 20.0, 40.0, math.pi / 2),
        "box_xyxy": (70.0, 20.0, 110.0, 40.0),
    }
    objects = [AnnotatedObject(name, "", **{name: value}) for name, value in shapes.items()]
    left, right = two_tiles(tmp_path, *objects, cut_boxes=cut_boxes)
    wanted = (90, 30, 40, 20, 0) if cut_boxes == "whole" else (85, 30, 30, 20, 0)
    assert [item.name for item in left] == list(shapes)
    for item in left:
        assert item.difficulty == 2
        assert rotated_boxes([item], (100, 100))[0] == pytest.approx(wanted, abs=1e-5)
    assert left[3].box_xyxy == (70.0, 20.0, 100.0, 40.0)
    np.testing.assert_array_equal(decode_rle([left[1].rle], (100, 100))[0], mask[:, :100])
    assert [item.difficulty for item in right] == [0] * 4


def test_the_part_of_a_turned_box_has_the_smallest_box_around_it(tmp_path):
    # A square of side 20 on its corner, its centre on the border at 100: half of it is a triangle.
    diamond = AnnotatedObject("ship", "", rbox_cxcywha=(100.0, 50.0, 20.0, 20.0, math.pi / 4))
    left, right = two_tiles(tmp_path, diamond, cut_boxes="part", minimum_kept=0.5 - 1e-9)
    half = 10 * math.sqrt(2)
    triangle = [(100 - half, 50), (100, 50 - half), (100, 50 + half)]
    found = AnnotatedObject("", "", polygons=((np.array(triangle),),))
    area = rotated_boxes([found])[0, 2:4].prod()
    assert area == pytest.approx(400, abs=1e-6)
    assert rotated_boxes(left)[0, 2:4].prod() == pytest.approx(area, abs=1e-6)
    assert right[0].rbox_cxcywha == pytest.approx((40, 50, 20, 20, math.pi / 4), abs=1e-9)


def test_what_is_lost_is_counted(tmp_path):
    notes = ReadNotes()
    large = quad_object([1, 1, 159, 1, 159, 99, 1, 99])
    flat = quad_object([5, 5, 9, 5, 9, 5, 5, 5])
    outside = quad_object([-9, 5, -3, 5, -3, 9, -9, 9])
    left, right = two_tiles(tmp_path, large, flat, outside, notes=notes)
    assert (left, right) == ((), ())
    report = notes.report(2, 2, Counter())
    assert dict(report.left_out) == {"in no tile": 1, "degenerate": 1, "outside": 1}
    assert "no tile holds 70% of it; a rate below 1 cuts larger tiles" in str(report)


def test_instances_semantic_maps_and_empty_tiles(tmp_path):
    path = image(tmp_path / "root/images/a.png", 100, 160)
    grey = np.arange(16000).reshape(100, 160) % 251
    (tmp_path / "root/grey").mkdir()
    picture = Image.fromarray(grey.astype(np.uint8))
    picture.putpalette([value for k in range(256) for value in (k, 255 - k, 0)])
    picture.save(tmp_path / "root/grey/a.png")
    bar = quad_object([5, 20, 45, 20, 45, 40, 5, 40])
    annotations = Annotations("images/a.png", (100, 160), (), (bar,), "grey/a.png")
    tiling = Tiling(100, 40, keep_empty=False)
    (tile,) = cut(annotations, path, tiling, tmp_path / "out")
    assert tile.image == "images/a__100__0___0.tif"
    assert tile.semantic == "semantic/grey/a__100__0___0.tif"
    assert len(tile.instances) == 1
    assert tile.objects == ()
    found = read_window(tmp_path / "out" / tile.semantic)
    np.testing.assert_array_equal(found[:, :, 0], grey[:, :100])  # indices, not colours
    assert sorted(p.name for p in (tmp_path / "out").rglob("*.tif")) == ["a__100__0___0.tif"] * 2


def test_another_image_than_the_annotated_one(tmp_path):
    path = image(tmp_path / "a.png", 100, 160)
    with pytest.raises(ValueError, match=r"\(100, 160\), its annotations say \(160, 100\)"):
        cut(Annotations("a.png", (160, 100), ()), path, Tiling(), tmp_path / "out")
    with pytest.raises(OSError, match="cannot be read as an image"):
        cut(
            Annotations("b.png", (160, 100), ()),
            text(tmp_path / "b.png", "none"),
            Tiling(),
            tmp_path / "out",
        )


def test_masks_in_windows_against_dense_ones():
    rng = np.random.default_rng(5)
    for density in (0.0, 0.1, 0.5, 0.95, 1.0):
        mask = rng.random((17, 23)) < density
        rle = rle_of_part(mask, (0, 0), (17, 23))
        for _ in range(20):
            x1, y1 = int(rng.integers(0, 23)), int(rng.integers(0, 17))
            x2, y2 = int(rng.integers(x1 + 1, 24)), int(rng.integers(y1 + 1, 18))
            part = mask[y1:y2, x1:x2]
            want = rle_of_part(part, (0, 0), part.shape)
            assert rle_in_window(rle, (x1, y1, x2, y2), (17, 23)) == want


def test_memory_of_a_large_scene_stays_bounded(tmp_path, monkeypatch):
    """Of a tiled TIFF of 4096² no more than a row of tiles is ever asked for."""
    path = tmp_path / "a.tif"
    write_raster(path, np.zeros((4096, 4096), np.uint8))
    asked = []
    read = module.read_window

    def watched(image, window=None, **settings):
        asked.append((window[2] - window[0]) * (window[3] - window[1]))
        return read(image, window, **settings)

    monkeypatch.setattr(module, "read_window", watched)
    monkeypatch.setattr(module, "_HELD_BYTES", 4_200_000)
    monkeypatch.setattr(module, "_write", lambda *_: None)
    tiles = cut(Annotations("a.tif", (4096, 4096), ()), path, Tiling(1024, 0), tmp_path)
    assert len(tiles) == 16
    assert asked == [1024 * 4096] * 4
    monkeypatch.setattr(module, "_HELD_BYTES", 1_000_000)
    asked.clear()
    cut(Annotations("a.tif", (4096, 4096), ()), path, Tiling(1024, 0), tmp_path)
    assert asked == [1024 * 1024] * 16


@pytest.mark.parametrize("form", ["polygons", "rle"])
def test_tiles_without_gap_put_together_give_the_scenes_masks(tmp_path, form):
    rng = np.random.default_rng(3)
    size_hw = (150, 210)
    path = image(tmp_path / "a.png", *size_hw)
    objects = []
    for i in range(12):
        centre = rng.uniform(0, 1, 2) * size_hw[::-1]
        turn = np.sort(rng.uniform(0, 2 * np.pi, 7))
        star = rng.uniform(12, 60, 7)[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1)
        polygon = (centre + star, centre + star[::-1] * 0.1)
        objects.append(AnnotatedObject(str(i), "", polygons=(polygon,)))
    scene = Annotations("a.png", size_hw, tuple(objects))
    masks = PolygonSegmenter().segment(path, scene)
    if form == "rle":
        objects = [AnnotatedObject(str(i), "", rle=mask.rle) for i, mask in enumerate(masks)]
        scene = Annotations("a.png", size_hw, tuple(objects))
    tiling = Tiling(30, 0, minimum_kept=1e-9)  # 30 divides both sides: no tile overlaps another
    together = np.zeros((12, *size_hw), dtype=bool)
    windows = tile_windows(size_hw, tiling).tolist()
    tiles = cut(scene, path, tiling, tmp_path / "out")
    assert len(tiles) == 5 * 7
    for tile, (x1, y1, x2, y2) in zip(tiles, windows, strict=True):
        for item, mask in zip(tile.objects, PolygonSegmenter().segment(path, tile), strict=True):
            together[int(item.name), y1:y2, x1:x2] = decode_rle([mask.rle], (30, 30))[0]
    want = decode_rle([mask.rle for mask in masks], size_hw).numpy()
    assert want.any(axis=(1, 2)).all()
    np.testing.assert_array_equal(together, want)


@pytest.mark.parametrize("place", [UTM, TURNED, None])
def test_reading_the_map_over_the_tiles_gives_the_cut_objects(tmp_path, place):
    """What is cut out of the scene's annotations is what a reader finds over each tile."""
    name = "t-619212-523272-20.png" if place is None else "a.tif"
    path = image(tmp_path / "scene" / name, 256, 256)
    if place is not None:
        write_raster(path, np.zeros((256, 256), np.uint8), place)
    there = georeference(path)
    rings = [[(90, 100), (150, 110), (140, 170), (80, 150)], [(5, 5), (40, 5), (40, 30)]]
    path_of_map = text(
        tmp_path / "a.geojson", collection(*(feature(there, ring) for ring in rings))
    )
    (scene,) = read("geojson", tmp_path / "scene", path_of_map)[0].values()
    tiling = Tiling(128, 0, minimum_kept=1e-6)
    tiles = cut(scene, path, tiling, tmp_path / "tiles")
    found, _ = read("geojson", tmp_path / "tiles", path_of_map)
    assert sorted(found) == sorted(tile.image for tile in tiles)
    counts = []
    for tile in tiles:
        anew = found[tile.image]
        masks = [
            [mask.rle for mask in PolygonSegmenter().segment(path, item)] for item in (tile, anew)
        ]
        assert len(masks[0]) == len(masks[1])
        counts.append(len(masks[0]))
        ours, theirs = (decode_rle(rles, (128, 128)).numpy() for rles in masks)
        assert (ours != theirs).sum() <= 2  # the way over the map moves corners by 1e-6 px
    assert counts == [2, 1, 1, 1]
