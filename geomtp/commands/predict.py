"""``geomtp predict``."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence

EXAMPLES = """example: geomtp predict runs/roofs/best.safetensors scene.tif --out maps
         geomtp predict runs/ships/best.safetensors images/ --score 0.5 --out maps
         geomtp predict runs/change/best.safetensors before.tif after.tif --out maps"""


def predict(words: Sequence[str]) -> int:
    """Maps and objects of images of any size."""
    from geomtp.inference.predict_config import Predict
    from geomtp.recipes.filling import fill_or_help

    named = list(itertools.takewhile(lambda word: not word.startswith("--"), words))
    flags = list(words[len(named) :])
    if named:
        flags.append(f"--checkpoint={named[0]}")
    if named[1:]:
        flags.append(f"--images={json.dumps(named[1:], ensure_ascii=False)}")
    config = fill_or_help(Predict, flags, "geomtp predict CHECKPOINT IMAGE…", EXAMPLES)
    if config is None:
        return 0
    from geomtp.inference.predict import predict_scenes

    predict_scenes(config)
    return 0
