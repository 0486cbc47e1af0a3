"""Files of objects: planted boxes come back where they are, in every format, without a warning."""

import dataclasses
import json
import math
import re
import warnings

import geopandas
import numpy as np
import pyogrio
import pytest
import shapely
from pyproj import CRS

from geomtp.inference.objects.scene_objects import SceneObjects
from geomtp.inference.outputs.vector_files import (
    FORMATS,
    write_geojson,
    write_layers,
    write_objects,
)
from geomtp.inference.outputs.vector_layers import MapShapes, objects_frame, objects_layer
from geomtp.labels.read_notes import ReadNotes
from geomtp.labels.readers.geopackage import read_geopackage
from geomtp.rasters import Georeference, write_raster
from geomtp.types import ClassMap

CLASSES = ClassMap(("ship", "small <plane> & co"), ((255, 0, 0), (0, 16, 255)))
UTM = Georeference("EPSG:32632", (0.5, 0.0, 380_000.0, 0.0, -0.5, 6_655_000.0))
PLACES = {
    "UTM": UTM,
    "turned": Georeference("EPSG:32632", (0.4, 0.3, 380_000.0, 0.3, -0.4, 6_655_000.0)),
    "web mercator": Georeference("EPSG:3857", (1.0, 0.0, 765_000.0, 0.0, -1.0, 8_399_737.9)),
    "degrees": Georeference("EPSG:4326", (1e-5, 0.0, 6.9, 0.0, -5e-6, 60.01)),
}
SIZES = ["length_m", "width_m", "heading_deg", "area_m2"]


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def rotated(count: int = 5) -> SceneObjects:
    generator = np.random.default_rng(count)
    unit = generator.random((count, 5))
    boxes = unit * [900, 700, 80, 20, math.pi] + [50, 50, 20, 5, -math.pi / 2]
    scores = np.sort(generator.random(count))[::-1]
    return SceneObjects(scores, np.arange(count) % 2, rboxes_cxcywha=boxes)


def corners_by_hand(box, place):
    """The four corners on the map: sides turned by the angle, clockwise as seen."""
    cx, cy, w, h, angle = box
    along = (math.cos(angle) * w / 2, math.sin(angle) * w / 2)
    across = (-math.sin(angle) * h / 2, math.cos(angle) * h / 2)
    a, b, c, d, e, f = place.transform
    points = [
        (cx + i * along[0] + j * across[0], cy + i * along[1] + j * across[1])
        for i, j in ((1, 1), (1, -1), (-1, -1), (-1, 1))
    ]
    return [(a * x + b * y + c, d * x + e * y + f) for x, y in points]


def read(path):
    return geopandas.read_parquet(path) if path.suffix == ".parquet" else geopandas.read_file(path)


def pixels_apart(polygon, box, place, crs):
    """How far the corners of a polygon read back lie from those by hand, at most, in pixels."""
    points = place.to_pixels(shapely.get_coordinates(polygon)[:4], crs)
    wanted = place.to_pixels(np.array(corners_by_hand(box, place)))
    distances = np.hypot(*(points[:, None] - wanted[None]).T)
    return max(distances.min(axis=0).max(), distances.min(axis=1).max())


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("name", PLACES)
def test_planted_boxes_come_back_at_their_places(name, suffix, tmp_path):
    place, objects = PLACES[name], rotated()
    path = tmp_path / f"scene{suffix}"
    assert write_objects(path, objects, CLASSES, place, task="rotated") == 5
    frame = read(path)
    crs = "EPSG:4326" if suffix == ".geojson" else place.crs
    assert frame.crs.to_string() == crs
    assert list(frame.columns) == ["class", "class_id", "score", *SIZES, "geometry"]
    assert frame["class"].tolist() == [CLASSES.names[i % 2] for i in range(5)]
    np.testing.assert_allclose(frame["score"], objects.scores)
    bound_px = 0.05 if suffix == ".geojson" else 1e-4  # seven decimals are a centimetre
    for polygon, box in zip(frame.geometry, objects.rboxes_cxcywha, strict=True):
        assert pixels_apart(polygon, box, place, crs) < bound_px
    made = objects_frame(objects, CLASSES, place, task="rotated")
    np.testing.assert_allclose(made[SIZES], frame[SIZES])
    assert made.crs.to_string() == place.crs


def test_sizes_of_a_box_by_hand():
    # 100 x 20 m, long side to the right and 30° up: the map's north is up, its scale 0.9996.
    place = Georeference("EPSG:32632", (0.5, 0.0, 500_000.0, 0.0, -0.5, 6_655_000.0))
    boxes = np.array([[0.0, 100, 200, 40, -math.radians(60)]])
    objects = SceneObjects(np.array([0.7]), np.array([1]), rboxes_cxcywha=boxes)
    row = objects_frame(objects, CLASSES, place, task="rotated").iloc[0]
    assert row["length_m"] == pytest.approx(100 / 0.9996, abs=1e-3)
    assert row["width_m"] == pytest.approx(20 / 0.9996, abs=1e-3)
    assert row["heading_deg"] == pytest.approx(30, abs=1e-6)
    assert row["area_m2"] == pytest.approx(2000 / 0.9996**2, abs=0.01)


@pytest.mark.parametrize("suffix", FORMATS)
def test_pixels_without_a_place(suffix, tmp_path):
    objects = rotated(3)
    path = tmp_path / f"photo{suffix}"
    write_objects(path, objects, CLASSES, None, task="rotated")
    frame = read(path)
    assert list(frame.columns[3:7]) == ["length_px", "width_px", "angle_deg", "area_px"]
    boxes = objects.rboxes_cxcywha
    np.testing.assert_allclose(frame["length_px"], boxes[:, 2:4].max(axis=1))
    middles = shapely.get_coordinates(shapely.centroid(frame.geometry.values))
    bound_px = 1e-3 if suffix == ".geojson" else 1e-6
    np.testing.assert_allclose(middles, boxes[:, :2], atol=bound_px)
    if suffix != ".geojson":  # which knows longitude and latitude only
        assert frame.crs is None
    else:
        assert not re.search(
            r"\d\.\d{4,}", path.read_text().split('"coordinates"')[1].split("}")[0]
        )


@pytest.mark.parametrize("place", [UTM, None])
@pytest.mark.parametrize("suffix", FORMATS)
def test_nothing_found_is_a_layer_without_rows(suffix, place, tmp_path):
    path = tmp_path / f"empty{suffix}"
    assert write_objects(path, rotated(0), CLASSES, place, task="rotated") == 0
    frame = read(path)
    assert len(frame) == 0
    if suffix != ".geojson":  # its columns are those of its rows
        made = objects_frame(rotated(0), CLASSES, place, task="rotated")
        assert list(frame.columns) == list(made.columns)
        assert frame.dtypes["score"] == made.dtypes["score"] == np.float64
        assert frame.dtypes["class_id"] == np.int64


def test_layers_of_several_tasks_with_their_styles(tmp_path):
    boxes = np.array([[10.0, 20, 50, 40]])
    upright = SceneObjects(np.array([0.5]), np.array([0]), boxes_xyxy=boxes)
    outlines = (shapely.box(0, 0, 4, 2), shapely.MultiPolygon([shapely.box(9, 0, 12, 9)] * 1))
    instances = SceneObjects(np.array([0.9, 0.8]), np.array([0, 1]), polygons=outlines)
    path = tmp_path / "scene.gpkg"
    layers = [
        objects_layer(rotated(), CLASSES, UTM, task="rotated"),
        objects_layer(upright, CLASSES, UTM, task="horizontal"),
        objects_layer(instances, CLASSES, UTM, task="instance"),
    ]
    assert write_layers(path, layers) == {"rotated": 5, "horizontal": 1, "instance": 2}
    kinds = dict(pyogrio.list_layers(path).tolist())
    assert kinds["rotated"] == kinds["horizontal"] == "Polygon"
    assert kinds["instance"] == "MultiPolygon"
    one = pyogrio.read_dataframe(path, layer="horizontal")
    assert one.geometry[0].bounds == (380_005, 6_654_980, 380_025, 6_654_990)
    assert list(one.columns) == ["class", "class_id", "score", "length_m", "width_m", "area_m2",
                                 "geometry"]  # fmt: skip
    two = pyogrio.read_dataframe(path, layer="instance")
    assert two["length_m"].tolist() == pytest.approx([2, 4.5], rel=1e-3)
    assert two["area_m2"].tolist() == pytest.approx([2, 6.75], rel=1e-3)
    styles = pyogrio.read_dataframe(path, layer="layer_styles", read_geometry=False)
    assert styles["f_table_name"].tolist() == ["rotated", "horizontal", "instance"]
    assert styles["f_geometry_column"].tolist() == ["geom"] * 3
    assert styles["useAsDefault"].all()
    assert "small &lt;plane&gt; &amp; co" in styles["styleQML"][0]


def test_one_layer_has_its_style_beside_it(tmp_path):
    for suffix in FORMATS:
        write_objects(tmp_path / f"a{suffix}", rotated(1), CLASSES, UTM, task="rotated")
        style = tmp_path / "a.qml"
        assert "categorizedSymbol" in style.read_text()
        style.unlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.geojson", "a.gpkg", "a.parquet"]


def test_geojson_is_cut_at_the_180th_meridian(tmp_path):
    place = Georeference("EPSG:3832", (10.0, 0.0, 3_339_500.0, 0.0, -10.0, 0.0))  # 150° is x 0
    boxes = np.array([[8.0, 20, 60, 10, 0]])
    objects = SceneObjects(np.array([0.5]), np.array([0]), rboxes_cxcywha=boxes)
    write_objects(tmp_path / "a.geojson", objects, CLASSES, place, task="rotated")
    frame = geopandas.read_file(tmp_path / "a.geojson")
    west, _, east, _ = frame.total_bounds
    assert (west, east) == (-180, 180)
    assert frame.geometry[0].geom_type == "MultiPolygon"
    assert frame["length_m"][0] == pytest.approx(600, rel=1e-3)


@pytest.mark.parametrize("place", [UTM, None], ids=["placed", "pixels"])
@pytest.mark.parametrize("count", [0, 3])
def test_a_geopackage_becomes_the_geojson_that_would_have_been_written(tmp_path, place, count):
    write_objects(tmp_path / "a.gpkg", rotated(count), CLASSES, place, task="rotated")
    write_objects(tmp_path / "direct.geojson", rotated(count), CLASSES, place, task="rotated")
    write_geojson(tmp_path / "a.gpkg", tmp_path / "a.geojson")
    made, direct = (json.loads((tmp_path / f"{n}.geojson").read_text()) for n in ("a", "direct"))
    assert len(made["features"]) == count
    assert made["features"] == direct["features"]
    assert {path.name for path in tmp_path.iterdir() if path.suffix != ".qml"} == {
        "a.gpkg", "a.geojson", "direct.geojson",
    }  # fmt: skip


def test_labels_are_read_from_the_file(tmp_path):
    (tmp_path / "images").mkdir()
    write_raster(tmp_path / "images" / "a.tif", np.zeros((800, 1000), np.uint8), UTM)
    boxes = np.array([[300.0, 200, 80, 20, 0.4], [500, 600, 60, 30, -1.0]])
    objects = SceneObjects(np.array([0.9, 0.8]), np.array([1, 0]), rboxes_cxcywha=boxes)
    write_objects(tmp_path / "a.gpkg", objects, CLASSES, UTM, task="rotated")
    (image,) = read_geopackage(tmp_path / "images", tmp_path / "a.gpkg", ReadNotes())
    assert [item.name for item in image.objects] == [CLASSES.names[1], "ship"]
    for item, box in zip(image.objects, boxes, strict=True):
        assert shapely.Polygon(item.polygons[0][0]).centroid.coords[0] == pytest.approx(box[:2])


def test_a_failure_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "a.gpkg"
    write_objects(path, rotated(), CLASSES, UTM, task="rotated")
    before = path.read_bytes()
    layer = objects_layer(rotated(), CLASSES, UTM, task="rotated")

    def breaking():
        yield from layer.parts
        raise KeyError("in the middle")

    with pytest.raises(KeyError, match="in the middle"):
        write_layers(path, [dataclasses.replace(layer, parts=breaking())])
    assert path.read_bytes() == before
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.gpkg", "a.qml"]


def test_pieces_and_missing_sizes(tmp_path):
    layer = objects_layer(rotated(), CLASSES, UTM, task="rotated")
    (part,) = layer.parts
    pieces = [
        MapShapes(part.polygons[rows], {k: v[rows].copy() for k, v in part.attributes.items()})
        for rows in (slice(0, 2), slice(2, 2), slice(2, 5))
    ]
    pieces[0].attributes["length_m"][1] = math.nan
    for suffix in FORMATS:
        path = tmp_path / f"a{suffix}"
        write_layers(path, [dataclasses.replace(layer, parts=pieces)])
        frame = read(path)
        assert frame["length_m"].isna().tolist() == [False, True, False, False, False]
        np.testing.assert_allclose(frame["width_m"], part.attributes["width_m"])


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("system", ["+proj=laea +lat_0=50 +lon_0=9 +units=m", "plan", "lonlat"])
def test_systems_without_a_number(system, suffix, tmp_path):
    wkt = 'LOCAL_CS["plan",UNIT["metre",1]]'
    if system != "plan":
        wkt = CRS.from_user_input(system if system[0] == "+" else "OGC:CRS84").to_wkt()
    transform = (1e-5, 0.0, 9.0, 0.0, -1e-5, 50.0)
    if system != "lonlat":
        transform = (0.5, 0.0, 1000.0, 0.0, -0.5, 2000.0)
    path, place = tmp_path / f"a{suffix}", Georeference(wkt, transform)
    if system == "plan" and suffix == ".geojson":
        with pytest.raises(ValueError, match="no way"):
            write_objects(path, rotated(), CLASSES, place, task="rotated")
        return
    write_objects(path, rotated(), CLASSES, place, task="rotated")
    frame = read(path)
    crs = "EPSG:4326" if suffix == ".geojson" else place.crs
    for polygon, box in zip(frame.geometry, rotated().rboxes_cxcywha, strict=True):
        assert pixels_apart(polygon, box, place, None if crs == place.crs else crs) < 0.05


def test_a_place_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("")
    for suffix in FORMATS:
        path = tmp_path / "file" / f"a{suffix}"
        with pytest.raises(OSError, match="cannot be written"):
            write_objects(path, rotated(), CLASSES, UTM, task="rotated")


def test_wrong_requests_are_refused(tmp_path):
    layer = objects_layer(rotated(), CLASSES, UTM, task="rotated")
    with pytest.raises(ValueError, match=r"\.gpkg, \.geojson, \.parquet"):
        write_layers(tmp_path / "a.shp", [layer])
    with pytest.raises(ValueError, match="holds one layer, not 2"):
        write_layers(tmp_path / "a.geojson", [layer, dataclasses.replace(layer, name="b")])
    with pytest.raises(ValueError, match="names that differ"):
        write_layers(tmp_path / "a.gpkg", [layer, layer])
    with pytest.raises(ValueError, match="another geometry"):
        objects_layer(rotated(), CLASSES, UTM, task="instance")
    with pytest.raises(ValueError, match="are of the tasks"):
        objects_layer(rotated(), CLASSES, UTM, task="semantic")
    with pytest.raises(ValueError, match="class ids 0 to 0 were expected"):
        objects_layer(rotated(), ClassMap(("one",)), UTM, task="rotated")
    assert list(tmp_path.iterdir()) == []
