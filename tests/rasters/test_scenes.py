"""Scenes of any format, read by window at any resolution, with what is valid in them."""

import numpy as np
import pytest
import rasterio
import rasterio.control
from affine import Affine
from PIL import Image
from rasterio.enums import ColorInterp

from geomtp.rasters import open_scene, read_window, scene_of_array
from geomtp.rasters.reading import quiet
from tests.inference.scenes import UTM, noise, write_scene

TILED = {"tiled": True, "blockxsize": 16, "blockysize": 16}
RAMP = np.arange(40 * 60, dtype=np.float32).reshape(40, 60)


def test_a_window_is_read_as_it_is_stored(tmp_path):
    path = write_scene(tmp_path / "a.tif", np.stack([RAMP, RAMP + 1]).astype(np.uint16), **UTM)
    with open_scene(path, channels=2) as scene:
        part = scene.read((10, 5), (3, 4))
        np.testing.assert_array_equal(part.values, np.stack([RAMP, RAMP + 1])[:, 5:8, 10:14])
        assert part.valid.all()
        assert part.values.dtype == np.float32
        assert (scene.size_hw, scene.place.crs) == ((40, 60), "EPSG:32632")


@pytest.mark.parametrize(("layout", "in_rows"), [({}, True), (TILED, False)])
def test_a_file_is_in_rows_unless_it_is_tiled(tmp_path, layout, in_rows):
    path = tmp_path / "scene.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=64, height=32, count=1, dtype="uint8", **layout
    ) as file:
        file.write(np.ones((1, 32, 64), dtype=np.uint8))
    with open_scene(path, channels=1) as scene:
        assert scene.in_rows is in_rows


def test_a_scene_that_is_placed_by_half_says_so(tmp_path):
    points = [
        rasterio.control.GroundControlPoint(row, col, 5.0 + col, 50.0 - row)
        for row, col in ((0, 0), (0, 8), (8, 0))
    ]
    layout = {"driver": "GTiff", "width": 8, "height": 8, "count": 1, "dtype": "uint8"}
    by_points, without, whole = (tmp_path / f"{name}.tif" for name in "abc")
    with rasterio.open(by_points, "w", gcps=points, crs="EPSG:4326", **layout) as file:
        file.write(np.ones((1, 8, 8), np.uint8))
    with rasterio.open(without, "w", transform=Affine(2, 0, 5, 0, -2, 9), **layout) as file:
        file.write(np.ones((1, 8, 8), np.uint8))
    write_scene(whole, np.ones((1, 8, 8), np.uint8), **UTM)
    for path, said in ((by_points, "control points only"), (without, "no coordinate system")):
        with open_scene(path, channels=1) as scene:
            assert scene.place is None
            assert f"{path} " in scene.half_placed
            assert said in scene.half_placed
    with open_scene(whole, channels=1) as scene:
        assert scene.half_placed is None
    with scene_of_array(RAMP, channels=1, place=None) as scene:
        assert scene.half_placed is None


def test_coarser_is_the_mean_and_finer_lies_between():
    with scene_of_array(RAMP, channels=1, place=None) as scene:
        coarse = scene.read((5, 5), (4, 6), factor=0.5).values[0]
        mean = RAMP.reshape(20, 2, 30, 2).mean(axis=(1, 3))
        np.testing.assert_allclose(coarse, mean[5:9, 5:11])
        fine = scene.read((20, 20), (8, 8), factor=2.0).values[0]
        middles = (np.arange(20, 28) + 0.5) / 2 - 0.5
        np.testing.assert_allclose(fine, middles[:, None] * 60 + middles, atol=0.5)


def test_windows_of_another_resolution_agree_wherever_they_begin():
    with scene_of_array(noise(90, 90).astype(np.float32), channels=1, place=None) as scene:
        for factor in (0.37, 1.7):
            whole = scene.read((0, 0), (30, 30), factor).values
            part = scene.read((9, 11), (15, 16), factor).values
            assert np.abs(part - whole[:, 11:26, 9:25])[:, 2:-2, 2:-2].max() < 3


def test_nodata_nan_alpha_and_masks_are_no_values(tmp_path):
    hole = np.zeros((40, 60), dtype=bool)
    hole[10:20, 30:50] = True
    grey = noise(40, 60) // 2 + 1
    grey[hole] = 0
    nodata = write_scene(tmp_path / "nodata.tif", grey, nodata=0)
    floats = write_scene(
        tmp_path / "nan.tif", np.where(hole, np.nan, grey.astype(float)).astype(np.float32)
    )
    alpha = tmp_path / "alpha.png"
    rgba = np.dstack([grey, grey, grey, np.where(hole, 0, 255)]).astype(np.uint8)
    Image.fromarray(rgba).save(alpha)
    masked = write_scene(tmp_path / "masked.tif", grey)
    with quiet(), rasterio.open(masked, "r+") as file:
        file.write_mask(~hole)
    for path, channels in ((nodata, 1), (floats, 1), (alpha, 3), (masked, 1)):
        with open_scene(path, channels=channels) as scene:
            part = scene.read((0, 0), (40, 60))
            np.testing.assert_array_equal(part.valid, ~hole, err_msg=path.name)
            assert (part.values[:, hole] == 0).all()
            np.testing.assert_array_equal(scene.valid_pixels((25, 5), (20, 20)), ~hole[5:25, 25:45])


def test_a_pixel_is_valid_where_any_band_has_a_value():
    pixels = np.ones((8, 8, 2), np.float32)
    pixels[0, 0] = np.nan
    pixels[0, 1, 1] = np.nan
    with scene_of_array(pixels, channels=2, place=None) as scene:
        part = scene.read((0, 0), (8, 8))
        assert part.known[:, 0, :3].tolist() == [[False, True, True], [False, False, True]]
        assert part.valid[0, :3].tolist() == [False, True, True]


def test_bands_are_chosen_by_number_name_and_colour(tmp_path):
    path = write_scene(
        tmp_path / "a.tif", np.stack([np.full((8, 8), i) for i in range(4)]).astype("uint8")
    )
    with quiet(), rasterio.open(path, "r+") as file:
        file.colorinterp = [
            ColorInterp.blue, ColorInterp.green, ColorInterp.red, ColorInterp.undefined
        ]  # fmt: skip
        file.set_band_description(4, "NIR")

    def first(**wanted):
        with open_scene(path, **wanted) as scene:
            return scene.read((0, 0), (1, 1)).values[:, 0, 0].tolist()

    assert first(channels=4) == [0, 1, 2, 3]
    assert first(channels=3) == [2, 1, 0]  # by the colours that the file names
    assert first(channels=3, bands=["4", "3", "2"]) == [3, 2, 1]
    assert first(channels=3, bands=["nir", "red", "3"]) == [3, 2, 2]
    with pytest.raises(
        ValueError, match=r"4 bands \(1 blue, .*, 4 NIR\), the model needs 2.*--bands"
    ):
        first(channels=2)
    for name in ("swir", "0", "²"):
        with pytest.raises(ValueError, match=f"has no band '{name}'; it has 1 blue"):
            first(channels=1, bands=[name])
    with pytest.raises(ValueError, match=r"needs 5: give an image with all the bands"):
        first(channels=5)
    with pytest.raises(ValueError, match="the model needs 3 bands, 2 were chosen: 1, 2"):
        first(channels=3, bands=["1", "2"])


def test_grey_pictures_and_palettes_serve_for_three_bands(tmp_path):
    grey = noise(20, 20)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    palette = Image.fromarray(grey // 128, mode="P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.save(tmp_path / "palette.png")
    with open_scene(tmp_path / "grey.png", channels=3) as scene:
        np.testing.assert_array_equal(scene.read((0, 0), (20, 20)).values, np.stack([grey] * 3))
    with open_scene(tmp_path / "palette.png", channels=3) as scene:
        expected = np.where(grey[..., None] >= 128, [40, 50, 60], [10, 20, 30])
        np.testing.assert_array_equal(
            scene.read((0, 0), (20, 20)).values, expected.transpose(2, 0, 1)
        )
    with open_scene(tmp_path / "palette.png", channels=1) as scene:  # its numbers, not colours
        np.testing.assert_array_equal(scene.read((0, 0), (20, 20)).values, [grey // 128])
    black_or_white = Image.fromarray(grey >= 128)  # a PNG of one bit
    black_or_white.save(tmp_path / "bit.png")
    with open_scene(tmp_path / "bit.png", channels=1) as scene:
        values = scene.read((0, 0), (20, 20)).values.transpose(1, 2, 0)
    np.testing.assert_array_equal(values, read_window(tmp_path / "bit.png"))  # as in training
    assert set(np.unique(values)) == {0, 255}
    one = write_scene(tmp_path / "one.tif", grey)
    with pytest.raises(ValueError, match=r"has 1 bands .* --bands 1,1,1"):
        open_scene(one, channels=3)


def test_a_fourth_band_that_is_called_alpha_is_a_band_where_it_is_chosen(tmp_path):
    pixels = np.stack([noise(20, 30, seed) for seed in range(4)]) // 2 + 1
    pixels[3, :, :10] = 0
    path = tmp_path / "infrared.tif"
    size = {"height": 20, "width": 30, "count": 4, "dtype": "uint8"}
    with quiet(), rasterio.open(path, "w", driver="GTiff", **size, **UTM) as file:
        file.write(pixels)  # GDAL calls the fourth of four bands of 8 bits alpha
    with pytest.raises(ValueError, match=r"has 3 bands .*4 alpha.* --bands 1,2,3,4$"):
        open_scene(path, channels=4)
    with open_scene(path, channels=4, bands=["1", "2", "3", "4"]) as scene:
        part = scene.read((0, 0), (20, 30))
        np.testing.assert_array_equal(part.values, pixels)
        assert part.known.all()
        assert scene.valid_pixels((0, 0), (20, 30)).all()
    with open_scene(path, channels=3) as scene:
        np.testing.assert_array_equal(scene.read((0, 0), (20, 30)).valid, pixels[3] > 0)


def test_virtual_rasters_archives_and_what_is_none(tmp_path):
    path = write_scene(tmp_path / "a.tif", noise(20, 30))
    vrt = tmp_path / "a.vrt"
    vrt.write_text(
        '<VRTDataset rasterXSize="30" rasterYSize="20"><VRTRasterBand dataType="Byte" band="1">'
        '<SimpleSource><SourceFilename relativeToVRT="1">a.tif</SourceFilename>'
        "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(path, "a.tif")
    for place in (vrt, f"/vsizip/{tmp_path}/a.zip/a.tif"):
        with open_scene(place, channels=1) as scene:
            np.testing.assert_array_equal(scene.read((0, 0), (20, 30)).values[0], noise(20, 30))
    with pytest.raises(OSError, match=r"a\.vrt cannot be opened"):
        open_scene(vrt, channels=1, plain_only=True)
    with pytest.raises(FileNotFoundError, match=r"b\.tif does not exist"):
        open_scene(tmp_path / "b.tif", channels=1)
    (tmp_path / "c.tif").write_bytes(path.read_bytes()[:700])
    with pytest.raises(OSError, match=r"c\.tif is cut off: it holds 700 bytes"):
        open_scene(tmp_path / "c.tif", channels=1)


def test_a_second_date_is_laid_on_the_first(tmp_path):
    pixels = noise(60, 80)
    first = write_scene(tmp_path / "first.tif", pixels, **UTM)
    shift = UTM["transform"] @ Affine.translation(10, 5)
    second = write_scene(tmp_path / "second.tif", pixels[5:, 10:], crs=UTM["crs"], transform=shift)
    away = UTM["transform"] @ Affine.translation(1000, 0)
    third = write_scene(tmp_path / "third.tif", pixels, crs=UTM["crs"], transform=away)
    nowhere = write_scene(tmp_path / "nowhere.tif", pixels[:50])
    same = write_scene(tmp_path / "same.tif", pixels)
    with open_scene(first, channels=1) as one:
        with open_scene(second, channels=1).on_grid_of(one) as laid:
            part = laid.read((0, 0), (60, 80))
            assert laid.size_hw == (60, 80)
        np.testing.assert_array_equal(part.values[0, 5:, 10:], pixels[5:, 10:])
        assert part.valid[5:, 10:].all()
        assert not part.valid[:5].any()
        with pytest.raises(ValueError, match="do not overlap: are they of the same place"):
            open_scene(third, channels=1).on_grid_of(one)
        with pytest.raises(ValueError, match=r"nowhere\.tif does not say where on Earth it lies"):
            open_scene(nowhere, channels=1).on_grid_of(one)
        plan = 'LOCAL_CS["plan",UNIT["metre",1]]'
        local = write_scene(tmp_path / "local.tif", pixels, crs=plan, transform=shift)
        with pytest.raises(ValueError, match=r"local\.tif cannot be laid over .*first\.tif"):
            open_scene(local, channels=1).on_grid_of(one)
        unplaced = open_scene(same, channels=1)
        assert unplaced.on_grid_of(one) is unplaced  # of one size: taken as of one grid


def test_a_palette_laid_on_another_grid_keeps_its_colours(tmp_path):
    pixels = np.kron(np.arange(6) % 2 * 5, np.ones((40, 10))).astype(np.uint8)  # numbers 0 and 5
    colours = {0: (0, 0, 0, 255), 2: (255, 0, 0, 255), 3: (0, 0, 255, 255), 5: (9, 9, 9, 255)}
    half = UTM["transform"] @ Affine.translation(0.5, 0)
    paths = [
        write_scene(tmp_path / f"{name}.tif", pixels, crs=UTM["crs"], transform=transform)
        for name, transform in (("first", UTM["transform"]), ("second", half))
    ]
    for path in paths:
        with rasterio.open(path, "r+") as file:
            file.write_colormap(1, colours)
    with (
        open_scene(paths[0], channels=3) as one,
        open_scene(paths[1], channels=3).on_grid_of(one) as laid,
    ):
        part = laid.read((0, 0), (40, 60))
    assert set(np.unique(part.values[:, part.valid])) == {0, 9}


def test_metadata_that_names_other_files_is_refused_where_images_are_of_strangers(tmp_path):
    path = tmp_path / "a.tif"
    profile = {"driver": "GTiff", "height": 20, "width": 30, "count": 1, "dtype": "uint8"}
    with quiet(), rasterio.open(path, "w", **profile) as raster:
        raster.write(np.ones((1, 20, 30), np.uint8))
        raster.update_tags(ns="ZVERVIEWS", OVERVIEW_FILE="b.tif")
    path.write_bytes(path.read_bytes().replace(b"ZVERVIEWS", b"OVERVIEWS"))  # GDAL writes no such
    with open_scene(path, channels=1) as scene:
        assert scene.size_hw == (20, 30)
    with pytest.raises(OSError, match=r"a\.tif takes pixels from other files: give one that holds"):
        open_scene(path, channels=1, plain_only=True)


@pytest.mark.parametrize(
    ("name", "writing"),
    [
        ("a.png", {"driver": "PNG"}),
        ("a.jpg", {"driver": "JPEG"}),
        ("a.tif", {"driver": "GTiff", "tiled": True, "blockxsize": 64, "blockysize": 64}),
        ("a.tif", {"driver": "GTiff", "compress": "deflate", "interleave": "band"}),
        ("a.tif", {"driver": "COG", "compress": "deflate"}),
    ],
    ids=["png", "jpeg", "tiles", "strips", "cog"],
)
def test_a_cut_off_file_is_told_when_it_is_opened(tmp_path, name, writing):
    path, pixels = tmp_path / name, np.random.default_rng(0).integers(0, 255, (3, 300, 200))
    profile = {"height": 300, "width": 200, "count": 3, "dtype": "uint8", **writing}
    with quiet(), rasterio.open(path, "w", **profile) as raster:
        raster.write(pixels.astype(np.uint8))
    content = path.read_bytes()
    open_scene(path, channels=3).close()
    for share in (0.3, 0.7, 0.99):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(
            OSError, match=rf"{name} (is cut off|cannot be (read|opened))"
        ) as caught:
            open_scene(path, channels=3)
        assert len(str(caught.value).splitlines()) == 1


def test_tiles_that_were_never_written_are_no_damage(tmp_path):
    path = tmp_path / "a.tif"
    profile = {"driver": "GTiff", "height": 300, "width": 200, "count": 1, "dtype": "uint8"}
    with quiet(), rasterio.open(path, "w", tiled=True, sparse_ok=True, **profile) as raster:
        raster.write(np.ones((1, 16, 16), np.uint8), window=((0, 16), (0, 16)))
    with open_scene(path, channels=1) as scene:
        assert scene.read((0, 0), (300, 200)).values.sum() == 256
