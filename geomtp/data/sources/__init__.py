"""The sources by name: each is a data set with its card."""

from geomtp.data.sources.hit_uav import HitUav
from geomtp.data.sources.source import Source

SOURCES: dict[str, Source] = {
    "hit_uav": HitUav(),
}

__all__ = ["SOURCES", "Source"]
