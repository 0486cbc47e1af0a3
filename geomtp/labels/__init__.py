"""Labels: reading annotations, making masks of them, and the store that training reads."""

from geomtp.labels.annotations import AnnotatedObject, Annotations
from geomtp.labels.engine.engine import GenerateResult, generate
from geomtp.labels.engine.generate_config import GenerateLabels
from geomtp.labels.exports.coco_stores import export_coco, store_from_coco
from geomtp.labels.masks.object_masks import ObjectMask
from geomtp.labels.masks.quality import CheckedMask, QualityRules, check_masks
from geomtp.labels.read_notes import ReadNotes, ReadReport
from geomtp.labels.readers.by_name import READERS, read_annotations
from geomtp.labels.segmenters.by_name import SEGMENTER_NAMES, create_segmenter
from geomtp.labels.segmenters.segmenter import SEGMENTERS, BoxSegmenter, PolygonSegmenter, Segmenter
from geomtp.labels.store.building import build_store, classes_in
from geomtp.labels.store.doubts import DoubtRule
from geomtp.labels.store.format import StoreInfo
from geomtp.labels.store.image_labels import SPLITS, ImageLabels
from geomtp.labels.store.label_store import LabelStore, StoreWriter, write_store
from geomtp.labels.store.semantic_maps import change_map, semantic_map

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
