"""Weights in files: our own, foreign ones, and official weights in and out of our modules."""

from geomtp.checkpoints.files import (
    read_description,
    read_weights,
    replacing,
    save_weights,
    sha256_of,
    write_json,
)
from geomtp.checkpoints.foreign import read_foreign
from geomtp.checkpoints.official import (
    FitsOfficialTensors,
    HasOfficialConstants,
    HasOfficialKeys,
    IgnoresOfficialKeys,
    ImportReport,
    export_official,
    import_official,
)
from geomtp.checkpoints.resizing import resize_position_table, resize_relative_table

__all__ = [
    "FitsOfficialTensors",
    "HasOfficialConstants",
    "HasOfficialKeys",
    "IgnoresOfficialKeys",
    "ImportReport",
    "export_official",
    "import_official",
    "read_description",
    "read_foreign",
    "read_weights",
    "replacing",
    "resize_position_table",
    "resize_relative_table",
    "save_weights",
    "sha256_of",
    "write_json",
]
