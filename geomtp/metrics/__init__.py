"""Scores of predictions against truth, right on any number of processes.

Each metric collects with ``update`` and answers with ``compute``; the answer's ``summary`` is a
flat dictionary of fractions for a log.
"""

from geomtp.metrics.change import ChangeResult, ChangeScore
from geomtp.metrics.coco import CocoResult, CocoScore, InstanceScores
from geomtp.metrics.rotated import ClassMatches, RotatedResult, RotatedScore
from geomtp.metrics.scene import SceneResult, SceneScore
from geomtp.metrics.semantic import SemanticResult, SemanticScore

__all__ = [
    "ChangeResult",
    "ChangeScore",
    "ClassMatches",
    "CocoResult",
    "CocoScore",
    "InstanceScores",
    "RotatedResult",
    "RotatedScore",
    "SceneResult",
    "SceneScore",
    "SemanticResult",
    "SemanticScore",
]
