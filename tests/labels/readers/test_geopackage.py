import sqlite3
import struct
from contextlib import closing

import numpy as np
import pytest
import rasterio.crs
import shapely

from geomtp.labels import PolygonSegmenter
from geomtp.labels.masks.run_lengths import rle_area
from geomtp.labels.readers import geopackage as module
from geomtp.labels.readers.geopackage import read_geopackage
from geomtp.labels.readers.well_known_binary import polygons_from_geopackage
from geomtp.rasters import LONGITUDE_LATITUDE, Georeference, write_raster
from tests.labels.layouts import notes, read

UTM = Georeference("EPSG:32636", (0.5, 0.0, 500_000.0, 0.0, -0.5, 40_000.0))
SYSTEMS = [
    (4326, "EPSG", 4326, ""),
    (32636, "EPSG", 32636, "ignored"),
    (7, "own", 7, rasterio.crs.CRS.from_epsg(3857).to_wkt()),
    (-1, "NONE", -1, "undefined"),
    (8, "file", 8, "/etc/passwd"),
]


def blob(geometry, envelope=0, order="<", srs=0, flags=0):
    sizes = (0, 4, 6, 6, 8)
    head = b"GP" + bytes([0, envelope << 1 | (order == "<") | flags]) + struct.pack("<i", srs)
    return head + bytes(8 * sizes[envelope]) + shapely.to_wkb(geometry, flavor="iso")


def square(x, y, side):
    return np.array([(x, y), (x + side, y), (x + side, y + side), (x, y + side)], dtype=float)


def on_map(ring, crs):
    return shapely.Polygon(UTM.to_map(ring, crs))


def geopackage(path, *tables):
    """A file with tables (name, srs_id, columns, rows); the first column is the geometry."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "CREATE TABLE gpkg_spatial_ref_sys (srs_name TEXT, srs_id INTEGER PRIMARY KEY, "
            "organization TEXT, organization_coordsys_id INTEGER, definition TEXT)"
        )
        database.executemany("INSERT INTO gpkg_spatial_ref_sys VALUES ('', ?, ?, ?, ?)", SYSTEMS)
        database.execute("CREATE TABLE gpkg_contents (table_name TEXT, data_type TEXT)")
        database.execute(
            "CREATE TABLE gpkg_geometry_columns (table_name TEXT, column_name TEXT, srs_id INTEGER)"
        )
        for name, srs, columns, rows in tables:
            table = name.replace('"', '""')
            quoted = ", ".join(f'"{column}"' for column in columns)
            database.execute(f'CREATE TABLE "{table}" (fid INTEGER PRIMARY KEY, {quoted})')
            marks = ", ".join("?" * len(columns))
            database.executemany(f'INSERT INTO "{table}" ({quoted}) VALUES ({marks})', rows)
            database.execute("INSERT INTO gpkg_contents VALUES (?, 'features')", (name,))
            database.execute(
                "INSERT INTO gpkg_geometry_columns VALUES (?, ?, ?)", (name, columns[0], srs)
            )
    return path


@pytest.fixture
def images(tmp_path):
    (tmp_path / "images").mkdir()
    write_raster(tmp_path / "images/a.tif", np.zeros((256, 256), np.uint8), UTM)
    return tmp_path / "images"


@pytest.mark.parametrize(
    ("srs", "crs"), [(4326, LONGITUDE_LATITUDE), (32636, "EPSG:32636"), (7, "EPSG:3857")]
)
def test_polygons_of_any_system_come_back_in_pixels(tmp_path, images, srs, crs):
    ring = np.array([(10, 20), (50, 25), (30, 60)])
    path = geopackage(
        tmp_path / "a.gpkg", ('my "huts"', srs, ["geom"], [(blob(on_map(ring, crs)),)])
    )
    found, report = read("geopackage", images, path)
    (item,) = found["a.tif"].objects
    assert item.name == 'my "huts"'
    assert item.where == 'a.gpkg my "huts" 1'
    corners = sorted(np.round(item.polygons[0][0], 2).tolist())
    assert corners == sorted(ring.astype(float).tolist())
    assert report.left_out == ()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.gpkg", "images"]


def test_tables_classes_and_folders(tmp_path, images):
    def lonlat(*ring):
        return blob(on_map(square(*ring), LONGITUDE_LATITUDE), envelope=1)

    def utm(*ring):
        return blob(on_map(square(*ring), "EPSG:32636"), envelope=4)

    huts = ("huts", 4326, ["geom", "class"], [(lonlat(10, 10, 20), "hut"), (lonlat(50, 10, 9), "")])
    cars = ("cars", 32636, ["shape", "kind"], [(utm(90, 10, 20), "bus"), (utm(130, 10, 20), None)])
    geopackage(tmp_path / "labels/a.gpkg", huts)
    geopackage(tmp_path / "labels/sub/b.gpkg", huts, cars)
    found, _ = read("geopackage", images, tmp_path / "labels")
    assert sorted(o.name for o in found["a.tif"].objects) == ["cars", "cars", "hut", "huts"]
    found = next(
        read_geopackage(
            images, tmp_path / "labels", notes(), class_column="kind", class_name="thing"
        )
    )
    assert sorted(o.name for o in found.objects) == ["bus", "thing", "thing", "thing"]


def test_holes_multipolygons_and_clipping(tmp_path, images):
    with_hole = shapely.Polygon(UTM.to_map(square(10, 10, 40)), [UTM.to_map(square(20, 20, 10))])
    two = shapely.MultiPolygon([on_map(square(x, 100, 10), "EPSG:32636") for x in (100, 130)])
    high = shapely.force_3d(on_map(square(236, 236, 40), "EPSG:32636"), 5.0)  # cut by the corner
    rows = [(blob(with_hole),), (blob(two),), (blob(high, envelope=2),)]
    found, report = read(
        "geopackage", images, geopackage(tmp_path / "a.gpkg", ("t", 32636, ["g"], rows))
    )
    rles = [mask.rle for mask in PolygonSegmenter().segment(images / "a.tif", found["a.tif"])]
    assert [rle_area(rle) for rle in rles] == [1600 - 100, 200, 400]
    assert report.left_out == ()


def deep(levels):
    collection = struct.pack("<BII", 1, 7, 1)
    return struct.pack("<BII", 1, 6, 1) + collection * levels + struct.pack("<BII", 1, 7, 0)


GOOD = blob(shapely.Polygon(square(0, 0, 1)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (blob(shapely.Point(1, 2)), "no polygon"),
        (blob(shapely.LineString([(1, 2), (2, 3)])), "no polygon"),
        (blob(shapely.Polygon()), "no polygon"),
        (blob(shapely.MultiPolygon()), "no polygon"),
        (blob(shapely.Polygon(), flags=16), "no polygon"),
        (None, "no polygon"),
        (b"", "malformed"),
        ("text", "malformed"),
        (7, "malformed"),
        (GOOD[2:], "malformed"),
        (GOOD[:-1], "malformed"),
        (GOOD[:9], "malformed"),
        (blob(shapely.Polygon(), envelope=4)[:30], "malformed"),
        (GOOD[:3] + bytes([11]) + GOOD[4:], "malformed"),  # envelope code 5
        (GOOD[:3] + bytes([33]) + GOOD[4:], "malformed"),  # an extended kind
        (GOOD[:17] + b"\xff\xff\xff\xff" + GOOD[21:], "malformed"),  # 2^32 points
        (GOOD[:13] + b"\xff\xff\xff\xff" + GOOD[17:], "malformed"),  # 2^32 rings
        (GOOD[:8] + deep(3), "malformed"),
        (GOOD[:8] + deep(300_000), "malformed"),
        (GOOD[:21] + struct.pack("<d", np.nan) + GOOD[29:], "malformed"),
        (blob(shapely.box(1e300, 0, 1e301, 9)), ""),  # far outside
    ],
)
def test_useless_geometries_are_counted(tmp_path, images, content, reason):
    good = blob(on_map(square(10, 10, 20), "EPSG:32636"))
    path = geopackage(tmp_path / "a.gpkg", ("t", 32636, ["g"], [(good,), (content,)]))
    found, report = read("geopackage", images, path)
    assert len(found["a.tif"].objects) == 1
    assert report.left_out == (((reason, 1),) if reason else ())
    if reason:
        assert report.examples[0].startswith("a.gpkg t 2: ")


def test_both_byte_orders():
    polygon = shapely.Polygon(square(1, 2, 3), [square(2, 3, 1)[::-1]])
    for order in (0, 1):
        wkb = shapely.to_wkb(polygon, byte_order=order)
        found = polygons_from_geopackage(b"GP\0\1\0\0\0\0" + wkb)
        assert found.equals_exact(polygon)


@pytest.mark.parametrize("srs", [-1, 8, 99])
def test_a_table_without_a_system(tmp_path, images, srs):
    path = geopackage(tmp_path / "a.gpkg", ("t", srs, ["g"], [(GOOD,)]))
    with pytest.raises(ValueError, match=r"'t' of .*a\.gpkg names no coordinate system: assign"):
        read("geopackage", images, path)


def test_files_of_no_use(tmp_path, images):
    path = tmp_path / "a.gpkg"
    with pytest.raises(FileNotFoundError, match="expected a GeoPackage"):
        read("geopackage", images, path)
    with pytest.raises(FileNotFoundError, match=r"holds no \.gpkg file"):
        read("geopackage", images, images)
    for content in (b"", b"no database at all" * 100, b"SQLite format 3\0" + bytes(2000)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.gpkg is no usable GeoPackage"):
            read("geopackage", images, path)
    path.unlink()
    with pytest.raises(ValueError, match="holds no table of features"):
        read("geopackage", images, geopackage(path))
    path.with_name("a.gpkg-wal").write_bytes(b"x")
    with pytest.raises(ValueError, match="is open in another program"):
        read("geopackage", images, path)


def hostile(path, sql):
    geopackage(path, ("t", 32636, ["g"], []))
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DROP TABLE t")
        database.execute(sql)
    return path


ENDLESS = (
    "CREATE VIEW t AS WITH RECURSIVE n(rowid, g) AS "
    "(SELECT 1, NULL UNION ALL SELECT rowid + 1, NULL FROM n) SELECT * FROM n"
)


@pytest.mark.parametrize(
    "sql", [ENDLESS, "CREATE VIEW t AS SELECT load_extension('x') AS g, 1 AS rowid"]
)
def test_views_that_do_more_than_look_up(tmp_path, images, sql):
    with pytest.raises(ValueError, match="no usable GeoPackage"):
        read("geopackage", images, hostile(tmp_path / "a.gpkg", sql))


def test_a_query_without_end_is_stopped(tmp_path, images, monkeypatch):
    monkeypatch.setattr(module, "_MOST_REPORTS", 20)
    path = hostile(tmp_path / "a.gpkg", "CREATE TABLE many (g)")
    with closing(sqlite3.connect(path)) as database, database:
        database.executemany("INSERT INTO many VALUES (?)", [(None,)] * 100)
        database.execute(
            "CREATE VIEW t AS SELECT a.g AS g, a.rowid AS rowid FROM many a, many b, many c, many d"
        )
    with pytest.raises(ValueError, match="interrupted"):
        read("geopackage", images, path)
