"""``geomtp serve`` as its users start it, in a process of its own."""

import os
import re
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Served:
    address: str
    process: subprocess.Popen


@contextmanager
def serving(*words):
    """A server that runs as long as the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "geomtp.cli", "serve", *map(str, words), "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        line = process.stdout.readline()
        found = re.search(r"http://\S+:\d+", line)
        assert found, f"the server said {line!r}"
        yield Served(found[0], process)
    finally:
        process.terminate()
        process.wait(30)
