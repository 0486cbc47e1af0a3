import struct
import zlib

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.enums import ColorInterp

from geomtp.rasters import Georeference, raster_info, read_size, read_window, write_raster

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

HEIGHT, WIDTH = 60, 90
NOISE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def gdal(path, pixels, driver="GTiff", **options):
    layers = pixels.transpose(2, 0, 1)
    size = {"height": pixels.shape[0], "width": pixels.shape[1], "count": pixels.shape[2]}
    with rasterio.open(path, "w", driver=driver, dtype=pixels.dtype, **size, **options) as raster:
        raster.write(layers)
    return path


def picture(path, pixels=NOISE, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


FILES = {
    "png": lambda folder: picture(folder / "a.png"),
    "bmp": lambda folder: picture(folder / "a.bmp"),
    "strips": lambda folder: gdal(folder / "a.tif", NOISE, compress="lzw"),
    "plain": lambda folder: gdal(folder / "a.tif", NOISE),
    "tiles": lambda folder: gdal(
        folder / "a.tif", NOISE, compress="deflate", tiled=True, blockxsize=32, blockysize=32
    ),
    "envi": lambda folder: gdal(folder / "a", NOISE, "ENVI"),
    "envi-suffix": lambda folder: gdal(folder / "a.dat", NOISE, "ENVI", interleave="bip"),
}


@pytest.mark.parametrize("form", FILES)
def test_every_lossless_format_gives_the_pixels_whole_and_by_window(tmp_path, form):
    path = FILES[form](tmp_path)
    assert read_size(path) == (HEIGHT, WIDTH)
    assert (raster_info(path).bands, raster_info(path).dtype) == (3, "uint8")
    np.testing.assert_array_equal(read_window(path), NOISE)
    window = read_window(path, (10, 20, 41, 55), bands=(2, 0))
    np.testing.assert_array_equal(window, NOISE[20:55, 10:41][:, :, [2, 0]])
    assert window.flags["C_CONTIGUOUS"]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
def test_the_file_s_own_data_type_and_any_number_of_bands(tmp_path, dtype):
    pixels = (np.random.default_rng(1).normal(size=(20, 30, 7)) * 100).astype(dtype)
    path = gdal(tmp_path / "a.tif", pixels)
    read = read_window(path, (5, 6, 25, 16))
    assert read.dtype == pixels.dtype
    np.testing.assert_array_equal(read, pixels[6:16, 5:25])


def test_jpeg_is_what_pillow_decodes(tmp_path):
    path = picture(tmp_path / "a.jpg", quality=90)
    whole = np.array(Image.open(path))
    np.testing.assert_array_equal(read_window(path), whole)
    np.testing.assert_array_equal(read_window(path, (8, 3, 50, 40)), whole[3:40, 8:50])


def test_suffix_does_not_matter_the_content_does(tmp_path):
    path = picture(tmp_path / "a.png")
    np.testing.assert_array_equal(read_window(path.rename(tmp_path / "b.tif")), NOISE)


def test_alpha_is_left_out(tmp_path):
    alpha = np.full((HEIGHT, WIDTH, 1), 7, dtype=np.uint8)
    rgba = picture(tmp_path / "a.png", np.concatenate([NOISE, alpha], axis=2))
    grey = picture(tmp_path / "b.png", np.concatenate([NOISE[:, :, :1], alpha], axis=2))
    np.testing.assert_array_equal(read_window(rgba), NOISE)
    np.testing.assert_array_equal(read_window(grey), NOISE[:, :, :1])
    assert (raster_info(rgba).bands, raster_info(grey).bands) == (3, 1)


def test_grey_pictures_answer_for_red_green_and_blue(tmp_path):
    path = picture(tmp_path / "a.png", NOISE[:, :, 0])
    assert read_window(path).shape == (HEIGHT, WIDTH, 1)
    np.testing.assert_array_equal(
        read_window(path, bands=(0, 1, 2)), np.repeat(NOISE[:, :, :1], 3, axis=2)
    )
    # A raster of one band is not a grey picture: it has no second band.
    with pytest.raises(ValueError, match=r"has the bands 0…0, asked for \(0, 1\)"):
        read_window(gdal(tmp_path / "a.tif", NOISE[:, :, :1]), bands=(0, 1))


def test_palettes_are_expanded_or_kept_as_indices(tmp_path):
    indices = np.arange(6, dtype=np.uint8).reshape(2, 3)
    image = Image.frombytes("P", (3, 2), indices.tobytes())
    colours = np.random.default_rng(2).integers(0, 256, (6, 3), dtype=np.uint8)
    image.putpalette(colours.reshape(-1).tolist())
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_window(tmp_path / "a.png"), colours[indices])
    kept = read_window(tmp_path / "a.png", expand_palette=False)
    np.testing.assert_array_equal(kept, indices[:, :, None])


def test_sixteen_bits_of_a_png_are_kept(tmp_path):
    # Pillow would shorten colour to 8 bits without a word.
    colour = NOISE.astype(np.uint16) * 257 + 1
    np.testing.assert_array_equal(read_window(gdal(tmp_path / "a.png", colour, "PNG")), colour)
    grey = gdal(tmp_path / "b.png", colour[:, :, :1], "PNG")
    assert read_window(grey).dtype == np.uint16
    np.testing.assert_array_equal(read_window(grey, bands=(0, 1, 2))[:, :, 2], colour[:, :, 0])
    rgba = np.concatenate([colour, colour[:, :, :1]], axis=2)
    deep = gdal(tmp_path / "c.png", rgba, "PNG")
    assert raster_info(deep).bands == 3
    np.testing.assert_array_equal(read_window(deep), colour)


def test_the_fourth_band_of_a_tiff_is_kept_even_when_called_alpha(tmp_path):
    pixels = np.concatenate([NOISE, NOISE[:, :, :1]], axis=2)
    path = gdal(tmp_path / "a.tif", pixels)
    with rasterio.open(path, "r+") as raster:
        raster.colorinterp = [
            ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha
        ]  # fmt: skip
    assert read_window(path).shape == (HEIGHT, WIDTH, 4)


def test_exif_orientation_is_not_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees to show"
    path = picture(tmp_path / "a.jpg", exif=exif)
    assert read_size(path) == (HEIGHT, WIDTH)
    assert read_window(path).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(
    "window", [(-1, 0, 5, 5), (0, 0, WIDTH + 1, 5), (5, 5, 5, 9), (9, 5, 5, 9)]
)
@pytest.mark.parametrize("form", ["png", "plain"])
def test_windows_must_lie_inside(tmp_path, form, window):
    with pytest.raises(ValueError, match=r"must lie inside .* which is 90 wide and 60 high"):
        read_window(FILES[form](tmp_path), window)


def test_unknown_bands_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"has the bands 0…2, asked for \(3,\)"):
        read_window(FILES["png"](tmp_path), bands=(3,))
    with pytest.raises(ValueError, match=r"asked for \(\)"):
        read_window(FILES["plain"](tmp_path), bands=())


def test_missing_empty_and_foreign_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.png does not exist"):
        read_window(tmp_path / "none.png")
    with pytest.raises(FileNotFoundError, match="is a folder"):
        read_size(tmp_path)
    (tmp_path / "empty.png").touch()
    with pytest.raises(OSError, match=r"empty\.png is empty \(0 bytes\)"):
        read_size(tmp_path / "empty.png")
    (tmp_path / "text.png").write_text("this is no image, but a text")
    with pytest.raises(OSError, match=r"text\.png cannot be read .* no format that is read"):
        read_window(tmp_path / "text.png")


def test_formats_that_name_other_files_are_refused(tmp_path):
    target = FILES["plain"](tmp_path)
    vrt = f"""<VRTDataset rasterXSize="90" rasterYSize="60"><VRTRasterBand dataType="Byte" band="1">
      <SimpleSource><SourceFilename>{target}</SourceFilename><SourceBand>1</SourceBand>
      </SimpleSource></VRTRasterBand></VRTDataset>"""
    (tmp_path / "trick.tif").write_text(vrt)
    with pytest.raises(OSError, match=r"trick\.tif cannot be read"):
        read_window(tmp_path / "trick.tif")


CUT = {
    **FILES,
    "jpg": lambda folder: picture(folder / "a.jpg"),
    "progressive": lambda folder: picture(folder / "a.jpg", progressive=True),
    "jpeg-tiff": lambda folder: gdal(folder / "a.tif", NOISE, compress="jpeg"),
    "deep-png": lambda folder: gdal(folder / "a.png", NOISE.astype(np.uint16), "PNG"),
    "jp2": lambda folder: gdal(folder / "a.jp2", NOISE, "JP2OpenJPEG"),
}


@pytest.mark.parametrize("form", CUT)
def test_a_cut_off_file_is_found_out_wherever_it_was_cut(tmp_path, form):
    path = CUT[form](tmp_path)
    whole, content = read_window(path), path.read_bytes()
    for part in (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.99):
        path.write_bytes(content[: int(part * len(content))])
        with pytest.raises(OSError, match=path.name):
            read_window(path)
    path.write_bytes(content)
    np.testing.assert_array_equal(read_window(path), whole)


def test_a_broken_checksum_or_garbage_is_an_os_error(tmp_path):
    path = FILES["png"](tmp_path)
    content = path.read_bytes()
    for place in (20, 40, len(content) // 2):
        path.write_bytes(content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :])
        with pytest.raises(OSError, match=r"a\.png cannot be read"):
            read_window(path)


def test_a_bomb_of_a_picture_opens_by_window(tmp_path):
    def chunk(kind, data):
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    side = 20_000  # 400 million pixels: Pillow refuses, and nobody wants them in memory
    rows = zlib.compressobj(1)
    data = b"".join(rows.compress(bytes(side + 1)) for _ in range(8)) + rows.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    path = tmp_path / "huge.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )
    assert read_size(path) == (side, side)
    assert read_window(path, (100, 0, 140, 4)).shape == (4, 40, 1)


def test_a_place_is_read_and_absent_where_there_is_none(tmp_path):
    place = Georeference("EPSG:32636", (0.5, 0.0, 300_000.0, 0.0, -0.5, 4_000_000.0))
    write_raster(tmp_path / "a.tif", NOISE, place)
    assert raster_info(tmp_path / "a.tif").georeference == place
    assert raster_info(FILES["strips"](tmp_path)).georeference is None
