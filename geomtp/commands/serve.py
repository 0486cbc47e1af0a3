"""``geomtp serve``."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence

EXAMPLES = """example: geomtp serve runs/roofs/best.safetensors runs/ships/best.safetensors
  --images scenes: images of that folder may be picked on the page
  --host 0.0.0.0: for other machines, too; there is no password"""


def serve(words: Sequence[str]) -> int:
    """A page in the browser and an HTTP interface."""
    from geomtp.recipes.filling import fill_or_help
    from geomtp.serving.serve_config import Serve

    named = list(itertools.takewhile(lambda word: not word.startswith("--"), words))
    flags = list(words[len(named) :])
    if named:
        flags.append(f"--checkpoints={json.dumps(named, ensure_ascii=False)}")
    config = fill_or_help(Serve, flags, "geomtp serve CHECKPOINT…", EXAMPLES)
    if config is None:
        return 0
    try:
        from geomtp.serving.server import serve as run
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("fastapi", "uvicorn", "pydantic", "starlette"):
            raise
        raise ValueError(
            f"a server needs packages that are not installed ({error.name}): "
            f'pip install "geomtp[serve]"'
        ) from None
    run(config)
    return 0
