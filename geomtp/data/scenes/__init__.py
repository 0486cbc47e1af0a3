"""Embedded procedural overhead scenes: exact labels, no download, the same for the same seed."""

from geomtp.data.scenes.chips import SCENE_CLASSES, chips
from geomtp.data.scenes.embedded import EMBEDDED, EmbeddedSource
from geomtp.data.scenes.pairs import ChangePair, change_pair
from geomtp.data.scenes.scene import CLASSES, KINDS, Scene, draw_scene, large_scene
from geomtp.data.scenes.stores import build_chips, build_pairs, labels_of_scene

__all__ = [
    "CLASSES",
    "EMBEDDED",
    "KINDS",
    "SCENE_CLASSES",
    "ChangePair",
    "EmbeddedSource",
    "Scene",
    "build_chips",
    "build_pairs",
    "change_pair",
    "chips",
    "draw_scene",
    "labels_of_scene",
    "large_scene",
]
