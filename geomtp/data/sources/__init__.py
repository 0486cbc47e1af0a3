"""The sources by name: each is a data set with its card."""

from geomtp.data.sources.eurosat_tiles import EurosatTiles
from geomtp.data.sources.hit_uav import HitUav
from geomtp.data.sources.neon_trees import NeonTrees
from geomtp.data.sources.oam_buildings import OamBuildings
from geomtp.data.sources.samrs import Fast, Sior, Sota
from geomtp.data.sources.source import Source
from geomtp.data.sources.taizhou import Taizhou

SOURCES: dict[str, Source] = {
    "sota": Sota(),
    "sior": Sior(),
    "fast": Fast(),
    "hit_uav": HitUav(),
    "oam_buildings": OamBuildings(),
    "neon_trees": NeonTrees(),
    "eurosat_tiles": EurosatTiles(),
    "taizhou": Taizhou(),
}

__all__ = ["SOURCES", "Source"]
