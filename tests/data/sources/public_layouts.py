"""Tiny copies of the layouts of the public data sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from geomtp.data.sources import PUBLIC
from geomtp.rasters import Georeference, write_raster
from tests.data.folders.layouts import picture
from tests.labels.layouts import text

CITY = Georeference("EPSG:4326", (1e-5, 0.0, -43.5, 0.0, -1e-5, -22.8))
"""The place of SpaceNet's tiny images."""


def grey(path: Path, pixels) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(path)
    return path


def tiff(path: Path, size_hw, place=None, seed=0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    write_raster(path, rng.integers(0, 255, (*size_hw, 3), dtype=np.uint8), place)
    return path


def eurosat(root: Path) -> Path:
    """As the reference has it: one image of each class to train, one to validate."""
    for name in PUBLIC["eurosat"].classes.names:
        picture(root / "train" / name / f"{name}_1.jpg", size_hw=(64, 64))
        picture(root / "val" / name / f"{name}_2.jpg", size_hw=(64, 64))
    return root


def resisc45(root: Path) -> Path:
    """With the lists: three images."""
    for name in ("airplane_001", "lake_007", "wetland_700"):
        picture(root / "all_img" / f"{name}.jpg", size_hw=(64, 64))
    text(root / "mtp/train_labels_28_mtp.txt", "airplane_001.jpg 0\nwetland_700.jpg 44\n")
    text(root / "mtp/valid_labels_28_mtp.txt", "lake_007.jpg 21\n")
    return root


def dior(root: Path) -> Path:
    """One image in each split; a ship, horizontal and turned by 45 degrees."""
    for name, split in (("00001", "train"), ("00002", "val"), ("11726", "test")):
        part = "test" if split == "test" else "trainval"
        picture(root / f"JPEGImages-{part}" / f"{name}.jpg", size_hw=(100, 120))
        text(root / f"ImageSets/Main/{split}.txt", f"{name}\n")
        box = "<bndbox><xmin>10</xmin><ymin>20</ymin><xmax>50</xmax><ymax>60</ymax></bndbox>"
        quad = zip(
            ("left_top", "right_top", "right_bottom", "left_bottom"),
            ((30, 20), (50, 40), (30, 60), (10, 40)),
            strict=True,
        )
        corners = "".join(f"<x_{c}>{x}</x_{c}><y_{c}>{y}</y_{c}>" for c, (x, y) in quad)
        for kind, shape in (
            ("Horizontal", box),
            ("Oriented", f"<robndbox>{corners}</robndbox>"),
        ):
            content = f"<annotation><object><name>Ship</name>{shape}</object></annotation>"
            text(root / f"Annotations/{kind} Bounding Boxes/{name}.xml", content)
    return root


dior_r = dior


def xview(root: Path) -> Path:
    """Six images of 600 × 500, each with a bus in its upper left corner and one that is cut."""
    features = []
    for i in range(6):
        tiff(root / "train_images" / f"{i}.tif", (500, 600), seed=i)
        for bounds, kind in (
            ("10,20,50,60", 19),
            ("400,30,440,70", 18),
            ("-5,480,30,520", 73),
            ("9,9,20,20", 75),
        ):
            about = {"image_id": f"{i}.tif", "type_id": kind, "bounds_imcoords": bounds}
            features.append({"properties": about})
    about = {"image_id": "1395.tif", "type_id": 19, "bounds_imcoords": "1,1,9,9"}
    text(root / "xView_train.geojson", {"features": [*features, {"properties": about}]})
    return root


def dota(root: Path, name: str = "plane") -> Path:
    """An image of 300 × 200 in each split; a plane, and one of another kind far to the right."""
    for split in ("train", "val", "test"):
        picture(root / split / "images" / f"P_{split}.png", size_hw=(200, 300))
        lines = "imagesource:GoogleEarth\ngsd:0.1\n10 20 50 20 50 60 10 60 plane 0\n"
        lines += f"250 150 290 150 290 170 250 170 {name} 1\n"
        if split != "test":
            text(root / split / "labelTxt" / f"P_{split}.txt", lines)
    return root


def dota_v1(root: Path) -> Path:
    return dota(root)


def dota_v2(root: Path) -> Path:
    return dota(root, "helipad")


def fair1m(root: Path) -> Path:
    """Two parts of train that repeat a name, validation and test, images of 300 × 200."""
    points = "".join(f"<point>{x},{y}</point>" for x, y in ((9, 9), (49, 9), (49, 29), (9, 29)))
    content = (
        "<annotation><objects><object><coordinate>pixel</coordinate>"
        "<possibleresult><name>Dry Cargo Ship</name></possibleresult>"
        f"<points>{points}</points></object></objects></annotation>"
    )
    for part in ("train/part1", "train/part2", "validation", "test"):
        tiff(root / part / "images" / "7.tif", (200, 300))
        if part != "test":
            text(root / part / "labelXml" / "7.xml", content)
    return root


def spacenet_v1(root: Path) -> Path:
    """Seven images of 80 × 70 with a square building of 10 × 20 px at x 30, y 40."""
    for i in range(7):
        name = f"AOI_1_RIO_img{i}"
        tiff(root / "3band" / f"3band_{name}.tif", (70, 80), CITY, seed=i)
        corners = np.array([(30, 40), (40, 40), (40, 60), (30, 60), (30, 40)], dtype=float)
        ring = [[*point, 0.0] for point in CITY.to_map(corners).tolist()]
        geometry = {"type": "Polygon", "coordinates": [ring]}
        features = [{"type": "Feature", "geometry": geometry, "properties": {}}] if i else []
        content = {"type": "FeatureCollection", "features": features}
        text(root / "vectordata/geojson" / f"Geo_{name}.geojson", content)
    return root


def loveda(root: Path) -> Path:
    """An image a split; the maps hold 0 (no data), 1 (background), 7 (agricultural) in columns."""
    pixels = np.repeat([0, 1, 7, 2], 16)[None].repeat(64, axis=0)
    for number, part in enumerate(("Train/Urban", "Val/Rural", "Test/Urban")):
        picture(root / part / "images_png" / f"{number}.png", size_hw=(64, 64))
        if not part.startswith("Test"):
            grey(root / part / "masks_png" / f"{number}.png", pixels)
    return root


def _pair(root: Path, part: str, name: str, size_hw, value=255, suffix="png", label="label"):
    for seed, kind in enumerate(("A", "B")):
        picture(root / part / kind / f"{name}.{suffix}", size_hw=size_hw, seed=seed)
    pixels = np.zeros(size_hw)
    pixels[: size_hw[0] // 2] = value
    grey(root / part / label / f"{name}.{suffix}", pixels)


def levir_cd(root: Path) -> Path:
    """A pair of 512 × 512 in each split; the upper half changed."""
    for split in ("train", "val", "test"):
        _pair(root, split, f"{split}_1", (512, 512))
    return root


def cdd(root: Path) -> Path:
    """JPEG pairs of 64 × 64, the maps in OUT."""
    for split in ("train", "val", "test"):
        _pair(root, split, "00001", (64, 64), suffix="jpg", label="OUT")
    return root


def whu_cd(root: Path) -> Path:
    """One pair of 600 × 1100: three rows of five patches."""
    for seed, kind in enumerate(("before", "after")):
        tiff(root / kind / f"{kind}.tif", (600, 1100), seed=seed)
    changed = np.zeros((600, 1100), np.uint8)
    changed[590:, :] = 1
    path = root / "change label" / "change_label.tif"
    path.parent.mkdir(parents=True)
    write_raster(path, changed)
    return root


def oscd(root: Path) -> Path:
    """A city of 200 × 100 to train (three by two patches), one of 96 × 90 to test."""
    base = "Onera Satellite Change Detection dataset - "
    for city, split, size_hw in (
        ("paris", "Train", (100, 200)),
        ("rio", "Test", (90, 96)),
    ):
        for date in ("img1", "img2"):
            picture(root / f"{base}Images" / city / "pair" / f"{date}.png", size_hw=size_hw)
        pixels = np.zeros(size_hw)
        pixels[-10:, -10:] = 255
        grey(root / f"{base}{split} Labels" / city / "cm" / "cm.png", pixels)
    return root


LAYOUTS = {
    "eurosat": eurosat,
    "resisc45": resisc45,
    "xview": xview,
    "dior": dior,
    "dior_r": dior_r,
    "fair1m": fair1m,
    "dota_v1": dota_v1,
    "dota_v2": dota_v2,
    "spacenet_v1": spacenet_v1,
    "loveda": loveda,
    "oscd": oscd,
    "whu_cd": whu_cd,
    "levir_cd": levir_cd,
    "cdd": cdd,
}
