"""GeoPackage: polygons in an SQLite file, in any coordinate system."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from geomtp.labels.annotations import Annotations
from geomtp.labels.read_notes import ReadNotes
from geomtp.labels.readers.map_features import MapFeature, read_map_files, usable
from geomtp.labels.readers.well_known_binary import polygons_from_geopackage

_STEPS_PER_REPORT = 10_000
_MOST_REPORTS = 100_000  # half a minute; a million features take a hundredth of it

_LAYERS = """
    SELECT c.table_name, g.column_name, s.organization, s.organization_coordsys_id, s.definition
    FROM gpkg_contents c
    JOIN gpkg_geometry_columns g ON g.table_name = c.table_name
    LEFT JOIN gpkg_spatial_ref_sys s ON s.srs_id = g.srs_id
    WHERE c.data_type = 'features' ORDER BY c.table_name
"""


def read_geopackage(
    images: Path,
    annotations: Path,
    notes: ReadNotes,
    *,
    class_column: str = "class",
    class_name: str | None = None,
) -> Iterator[Annotations]:
    """One ``Annotations`` per image below ``images`` that has a place on Earth, sorted by path.

    ``annotations`` is a .gpkg file or a folder of them (equal geometries count once); all tables of
    features are read, each in its own coordinate system. Otherwise as ``read_geojson``: the class
    is that of the column ``class_column``, else ``class_name``, else the table's name.

    Raises FileNotFoundError or ValueError for a file that is missing, is no GeoPackage or names no
    coordinate system.
    """

    def features_of(path: Path) -> Iterator[MapFeature]:
        return _features(path, notes, class_column, class_name)

    return read_map_files(images, annotations, ".gpkg", features_of, notes)


def _features(
    path: Path, notes: ReadNotes, class_column: str, class_name: str | None
) -> Iterator[MapFeature]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: expected a GeoPackage")
    journal = path.with_name(f"{path.name}-wal")
    if journal.is_file() and journal.stat().st_size:
        raise ValueError(
            f"{path} is open in another program ({journal.name}): close it there first"
        )
    try:
        # Immutable: nothing is written beside it, neither locks nor journals.
        address = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
        with closing(sqlite3.connect(address, uri=True)) as database:
            _restrain(database)
            layers = database.execute(_LAYERS).fetchall()
            if not layers or not all(isinstance(name, str) for row in layers for name in row[:2]):
                raise ValueError(f"{path} holds no table of features")
            for table, column, *system in layers:
                crs = _crs(path, table, *system)
                name = class_name or table
                yield from _rows(database, path, table, column, crs, class_column, name, notes)
    except (sqlite3.Error, sqlite3.Warning, UnicodeError, OverflowError) as error:
        raise ValueError(f"{path} is no usable GeoPackage: {error}") from error


def _restrain(database: sqlite3.Connection) -> None:
    """Keep a hostile file from running anything but plain look-ups, or without end."""
    plain = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ}

    def allowed(action: int, *_: str | None) -> int:
        return sqlite3.SQLITE_OK if action in plain else sqlite3.SQLITE_DENY

    steps = iter(range(_MOST_REPORTS))
    database.execute("PRAGMA trusted_schema = OFF")
    database.set_progress_handler(lambda: next(steps, None) is None, _STEPS_PER_REPORT)
    database.set_authorizer(allowed)


def _crs(path: Path, table: str, organisation: object, number: object, definition: object) -> str:
    if str(organisation).upper() == "EPSG" and isinstance(number, int) and number > 0:
        return f"EPSG:{number}"
    # Only well-known text: GDAL would also take names of files and addresses.
    if isinstance(definition, str) and re.match(r"\s*[A-Z_]+\s*\[", definition):
        return definition
    raise ValueError(f"the table {table!r} of {path} names no coordinate system: assign one to it")


def _rows(
    database: sqlite3.Connection,
    path: Path,
    table: str,
    column: str,
    crs: str,
    class_column: str,
    class_name: str,
    notes: ReadNotes,
) -> Iterator[MapFeature]:
    columns = database.execute(f"SELECT * FROM {_quoted(table)} LIMIT 0").description
    named = _quoted(class_column) if class_column in [name for name, *_ in columns] else "NULL"
    query = f"SELECT rowid, {_quoted(column)}, {named} FROM {_quoted(table)} ORDER BY rowid"
    for number, blob, name in database.execute(query):
        where = f"{path.name} {table} {number}"
        try:
            geometry = polygons_from_geopackage(blob)
            if geometry is None:
                notes.left_out("no polygon", where, "its geometry is no polygon")
                continue
            geometry = usable(geometry, crs)
        except ValueError as error:
            notes.malformed(where, str(error))
            continue
        yield MapFeature(str(name or class_name), where, geometry, crs)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
