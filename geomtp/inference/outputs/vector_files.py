"""Layers written to files that every GIS opens: GeoPackage, GeoJSON and GeoParquet.

Shapes go into the file piece by piece while they are made, so that millions of them need no memory
of their own; a file appears whole or not at all.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow
import shapely

from geomtp.checkpoints import replacing
from geomtp.inference.objects.scene_objects import SceneObjects
from geomtp.inference.outputs.map_styles import vector_style
from geomtp.inference.outputs.vector_layers import MapShapes, VectorLayer, objects_layer
from geomtp.rasters import Georeference
from geomtp.types import ClassMap

FORMATS = (".gpkg", ".geojson", ".parquet")
"""Suffixes of the vector files that are written; the first is the default."""

_GEOMETRY = "geometry"

pa: Any = pyarrow  # it has no types of its own


def write_objects(
    path: str | Path,
    objects: SceneObjects,
    class_map: ClassMap,
    place: Georeference | None,
    *,
    task: str,
) -> int:
    """Write the objects of one task to a file of one layer; gives back their number.

    Layer and errors are those of ``objects_layer``, file and further errors of ``write_layers``.
    """
    layer = objects_layer(objects, class_map, place, task=task)
    return write_layers(path, [layer])[task]


def write_layers(path: str | Path, layers: Sequence[VectorLayer]) -> dict[str, int]:
    """Write a file with these layers and no others; the number of shapes by layer.

    The suffix tells the format:

    - ``.gpkg``: a GeoPackage, with any number of layers in the map's own coordinate system
    - ``.geojson``: one layer in longitude and latitude (RFC 7946, seven decimals); shapes across
      the 180th meridian are cut there. Without a place in pixels, to a thousandth
    - ``.parquet``: GeoParquet 1.1, one layer in the map's own coordinate system

    QGIS draws all of them in the colours of their classes by itself. The style of one layer lies
    beside the file, as NAME.qml; those of several lie in the GeoPackage. A layer without shapes is
    written with all its columns (where the format keeps columns). An earlier file is replaced when
    the new one is whole.

    Raises ValueError for another suffix, for several layers in a format that holds one, for layers
    of one name, and for GeoJSON where there is no way to longitude and latitude; OSError when the
    file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    names = [layer.name for layer in layers]
    if suffix not in FORMATS:
        raise ValueError(f"{path.name}: vectors are written to {', '.join(FORMATS)} files")
    if len(set(names)) < len(names) or not names:
        raise ValueError(f"{path.name}: layers with names that differ were expected, got {names}")
    if suffix != ".gpkg" and len(layers) > 1:
        raise ValueError(f"{path.name} holds one layer, not {len(layers)}: write a .gpkg file")
    with _drafted(path) as draft:
        if suffix == ".gpkg":
            counts = {layer.name: _written_by_gdal(draft, layer, "GPKG") for layer in layers}
            if len(layers) > 1:  # with one, readers would ask which of the two tables is meant
                _add_styles(draft, layers)
        elif suffix == ".geojson":
            counts = {layers[0].name: _written_by_gdal(draft, layers[0], "GeoJSON")}
        else:
            counts = {layers[0].name: _written_parquet(draft, layers[0])}
    if len(layers) == 1:
        write_style(path, vector_style(layers[0].class_map))
    return counts


def write_style(path: Path, style: str) -> None:
    """Write a style beside the vector or raster file ``path``, where QGIS looks for it."""
    with replacing(path.with_suffix(".qml")) as beside:
        beside.write_text(style, encoding="utf-8")


@contextmanager
def _drafted(path: Path) -> Iterator[Path]:
    """A file of the same name in a hidden folder beside ``path``, which takes its place at the end.

    In a folder, since GDAL tells formats by suffixes and SQLite writes journals beside its files.
    """
    from pyogrio.errors import DataLayerError, DataSourceError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            replacing(path) as beside,
            TemporaryDirectory(prefix=f".{path.stem}.", dir=path.parent) as folder,
        ):
            draft = Path(folder) / path.name
            yield draft
            draft.replace(beside)
    except (OSError, DataSourceError, DataLayerError) as error:
        raise OSError(f"{path} cannot be written: {error}") from error


class _Stream:
    """The shapes of a layer as Arrow batches; remembers what went wrong while they were made.

    Readers of a stream are told of an error by its text alone.
    """

    def __init__(self, layer: VectorLayer) -> None:
        types = {str: pa.string(), int: pa.int64(), float: pa.float64()}
        fields = [pa.field(name, types[kind]) for name, kind in layer.columns.items()]
        wkb = pa.field(_GEOMETRY, pa.binary(), metadata={"ARROW:extension:name": "geoarrow.wkb"})
        self.schema = pa.schema([*fields, wkb])
        self.layer = layer
        self.count = 0
        self.error: BaseException | None = None

    def batches(self) -> Iterator[Any]:
        try:
            for part in self.layer.parts:
                self.count += len(part)
                yield self._batch(part)
        except BaseException as error:
            self.error = error
            raise

    def _batch(self, part: MapShapes) -> Any:
        polygons = part.polygons
        if self.layer.several_parts:
            polygons = _as_multi_polygons(polygons)
        columns = [part.attributes[name] for name in self.layer.columns]
        arrays = [
            pa.array(values, field.type, from_pandas=True)  # what has no size becomes empty
            for values, field in zip(columns, self.schema, strict=False)
        ]
        wkb = pa.array(shapely.to_wkb(polygons), pa.binary())
        return pa.record_batch([*arrays, wkb], schema=self.schema)


def _as_multi_polygons(polygons: Any) -> Any:
    parts, owner = shapely.get_parts(polygons, return_index=True)
    return shapely.multipolygons(parts, indices=owner) if len(parts) else polygons


def write_geojson(layer: str | Path, path: str | Path) -> None:
    """Write the one layer of the file ``layer`` as GeoJSON; form and errors as ``write_layers``."""
    import pyogrio

    with _drafted(Path(path)) as draft, pyogrio.open_arrow(layer, use_pyarrow=True) as opened:
        facts, stream = opened
        _to_geojson(
            draft,
            stream,
            facts["crs"],
            layer=Path(layer).stem,
            geometry_name=facts["geometry_name"] or "wkb_geometry",
            geometry_type=facts["geometry_type"],
        )


def _written_by_gdal(draft: Path, layer: VectorLayer, driver: str) -> int:
    stream = _Stream(layer)
    facts = {
        "layer": layer.name,
        "geometry_name": _GEOMETRY,
        "geometry_type": "MultiPolygon" if layer.several_parts else "Polygon",
    }
    reader = pa.RecordBatchReader.from_batches(stream.schema, stream.batches())
    try:
        if driver == "GeoJSON":
            _to_geojson(draft, reader, layer.crs, **facts)
        else:
            _to_gdal(draft, reader, layer.crs, driver=driver, **facts)
    except Exception:
        if stream.error is not None:
            raise stream.error from None
        raise
    return stream.count


def _to_geojson(draft: Path, stream: Any, crs: str | None, **facts: str) -> None:
    from pyproj import CRS

    if crs is None:
        _to_gdal(draft, stream, None, driver="GeoJSON", COORDINATE_PRECISION="3", **facts)
        return
    if CRS.from_user_input(crs).geodetic_crs is None:
        raise ValueError(
            f"{draft.name}: there is no way from the scene's coordinate system to the longitude "
            "and latitude of GeoJSON: write a .gpkg file"
        )
    _to_gdal(draft, stream, crs, driver="GeoJSON", RFC7946="YES", **facts)


def _to_gdal(draft: Path, stream: Any, crs: str | None, **facts: str) -> None:
    """Write a stream of Arrow batches; ``facts`` as ``pyogrio.write_arrow`` has them."""
    import pyogrio

    with warnings.catch_warnings():
        # An image without a place has no coordinate system.
        warnings.filterwarnings("ignore", "'crs' was not provided", UserWarning)
        pyogrio.write_arrow(stream, draft, crs=crs, **facts)


def _written_parquet(draft: Path, layer: VectorLayer) -> int:
    from pyarrow import parquet
    from pyproj import CRS

    stream = _Stream(layer)
    crs = None if layer.crs is None else CRS.from_user_input(layer.crs).to_json_dict()
    kinds = ["MultiPolygon"] if layer.several_parts else ["Polygon"]
    column = {"encoding": "WKB", "geometry_types": kinds, "crs": crs}
    geo = {"version": "1.1.0", "primary_column": _GEOMETRY, "columns": {_GEOMETRY: column}}
    schema = stream.schema.with_metadata({"geo": json.dumps(geo)})
    with parquet.ParquetWriter(draft, schema) as writer:
        for batch in stream.batches():
            writer.write_batch(batch.replace_schema_metadata(schema.metadata))
    return stream.count


def _add_styles(draft: Path, layers: Sequence[VectorLayer]) -> None:
    """The table in which QGIS keeps styles inside a GeoPackage."""
    import pyogrio

    count = len(layers)
    names = [layer.name for layer in layers]
    styles = pa.table(
        {
            "f_table_catalog": [""] * count,  # QGIS looks for empty texts
            "f_table_schema": [""] * count,
            "f_table_name": names,
            "f_geometry_column": ["geom"] * count,
            "styleName": names,
            "styleQML": [vector_style(layer.class_map) for layer in layers],
            "styleSLD": [""] * count,
            "useAsDefault": [True] * count,
            "description": ["classes"] * count,
            "owner": [""] * count,
            "ui": pa.nulls(count, pa.string()),
            "update_time": pa.array([datetime.now(UTC)] * count, pa.timestamp("ms", "UTC")),
        }
    )
    pyogrio.write_arrow(styles, draft, layer="layer_styles", driver="GPKG", FID="id")
