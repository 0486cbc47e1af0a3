"""The sources by name: each is a data set with its card."""

from geomtp.data.sources.change_sets import Cdd, LevirCd, Oscd, WhuCd
from geomtp.data.sources.cloud_scenes import CloudScenes
from geomtp.data.sources.dior import Dior, DiorR
from geomtp.data.sources.dota import DotaV1, DotaV2
from geomtp.data.sources.eurosat_tiles import EurosatTiles
from geomtp.data.sources.fair1m import Fair1m
from geomtp.data.sources.hit_uav import HitUav
from geomtp.data.sources.land_cover import LoveDA, SpaceNetV1
from geomtp.data.sources.neon_trees import NeonTrees
from geomtp.data.sources.oam_buildings import OamBuildings
from geomtp.data.sources.public import PublicSource
from geomtp.data.sources.samrs import Fast, Sior, Sota
from geomtp.data.sources.scene_sets import Eurosat, Resisc45
from geomtp.data.sources.source import Source
from geomtp.data.sources.taizhou import Taizhou
from geomtp.data.sources.xview import XView

PUBLIC: dict[str, PublicSource] = {
    "eurosat": Eurosat(),
    "resisc45": Resisc45(),
    "xview": XView(),
    "dior": Dior(),
    "dior_r": DiorR(),
    "fair1m": Fair1m(),
    "dota_v1": DotaV1(),
    "dota_v2": DotaV2(),
    "spacenet_v1": SpaceNetV1(),
    "loveda": LoveDA(),
    "oscd": Oscd(),
    "whu_cd": WhuCd(),
    "levir_cd": LevirCd(),
    "cdd": Cdd(),
}
"""The public data sets of fine-tuning, each with a recipe of its name."""

SOURCES: dict[str, Source] = {
    "sota": Sota(),
    "sior": Sior(),
    "fast": Fast(),
    "hit_uav": HitUav(),
    "oam_buildings": OamBuildings(),
    "neon_trees": NeonTrees(),
    "eurosat_tiles": EurosatTiles(),
    "taizhou": Taizhou(),
    "cloud_scenes": CloudScenes(),
    **PUBLIC,
}

__all__ = ["PUBLIC", "SOURCES", "PublicSource", "Source"]
