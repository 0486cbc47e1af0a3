"""Labels: reading annotations, making masks of them, and the store that training reads."""

from geomtp.labels.annotations import AnnotatedObject, Annotations
from geomtp.labels.coco_stores import export_coco, store_from_coco
from geomtp.labels.create_segmenter import SEGMENTER_NAMES, create_segmenter
from geomtp.labels.doubts import DoubtRule
from geomtp.labels.engine import GenerateResult, generate
from geomtp.labels.generate_config import GenerateLabels
from geomtp.labels.image_labels import SPLITS, ImageLabels
from geomtp.labels.object_masks import ObjectMask
from geomtp.labels.quality import CheckedMask, QualityRules, check_masks
from geomtp.labels.readers import READERS, read_annotations
from geomtp.labels.reports import ReadNotes, ReadReport
from geomtp.labels.segmenters import SEGMENTERS, BoxSegmenter, PolygonSegmenter, Segmenter
from geomtp.labels.semantic_maps import change_map, semantic_map
from geomtp.labels.store import LabelStore, StoreWriter, write_store
from geomtp.labels.store_building import build_store, classes_in
from geomtp.labels.store_format import StoreInfo

__all__ = [
    "READERS",
    "SEGMENTERS",
    "SEGMENTER_NAMES",
    "SPLITS",
    "AnnotatedObject",
    "Annotations",
    "BoxSegmenter",
    "CheckedMask",
    "DoubtRule",
    "GenerateLabels",
    "GenerateResult",
    "ImageLabels",
    "LabelStore",
    "ObjectMask",
    "PolygonSegmenter",
    "QualityRules",
    "ReadNotes",
    "ReadReport",
    "Segmenter",
    "StoreInfo",
    "StoreWriter",
    "build_store",
    "change_map",
    "check_masks",
    "classes_in",
    "create_segmenter",
    "export_coco",
    "generate",
    "read_annotations",
    "semantic_map",
    "store_from_coco",
    "write_store",
]
