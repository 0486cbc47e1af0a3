"""Cells are taken by one process at a time."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest

from geomtp.study import claims
from geomtp.study.claims import Claim, forget_claims, is_claimed


def test_a_cell_is_taken_once_and_again_when_it_was_given_up(tmp_path):
    first = Claim.take(tmp_path / "cell")
    assert first is not None
    assert Claim.take(tmp_path / "cell") is None
    assert is_claimed(tmp_path / "cell")
    first.give_up()
    assert not is_claimed(tmp_path / "cell")
    second = Claim.take(tmp_path / "cell")
    assert second is not None
    assert (second.path.name, second.crashes) == ("claim-0002.json", 0)
    forget_claims(tmp_path / "cell")
    assert not list((tmp_path / "cell").iterdir())


def test_of_many_at_once_one_wins(tmp_path):
    for round_ in range(20):
        cell, winners, together = tmp_path / str(round_), [], threading.Barrier(8)

        def race(cell=cell, winners=winners, together=together):
            together.wait()
            claim = Claim.take(cell)
            if claim is not None:
                winners.append(claim)

        racers = [threading.Thread(target=race) for _ in range(8)]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join()
        assert len(winners) == 1


RACER = """
import sys
from pathlib import Path
from geomtp.study.claims import Claim
print(sum(Claim.take(Path(sys.argv[1]) / str(i)) is not None for i in range(50)), flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
def test_processes_share_cells_without_overlap(tmp_path):
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    try:  # all of them live until all have counted
        counts = [int(racer.stdout.readline()) for racer in racers]
        assert sum(counts) == 50
    finally:
        for racer in racers:
            racer.communicate("")


def test_a_process_that_is_gone_loses_its_claim_and_counts_as_a_crash(tmp_path):
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    claim = Claim.take(tmp_path)
    content = json.loads(claim.path.read_text())
    claim.path.write_text(json.dumps({**content, "process": int(gone.stdout)}))
    again = Claim.take(tmp_path)
    assert again is not None
    assert again.crashes == 1


def test_a_claim_of_another_machine_counts_as_long_as_it_is_touched(tmp_path):
    claim = Claim.take(tmp_path)
    content = json.loads(claim.path.read_text())
    claim.path.write_text(json.dumps({**content, "host": "elsewhere", "process": 1}))
    assert Claim.take(tmp_path) is None
    long_ago = time.time() - claims.PATIENCE_S - 1
    os.utime(claim.path, (long_ago, long_ago))
    assert Claim.take(tmp_path) is not None


def test_a_claim_that_is_being_written_counts(tmp_path):
    (tmp_path / "claim-0001.json").touch()
    assert Claim.take(tmp_path) is None


def test_a_held_claim_is_touched_and_given_up_at_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "_TOUCH_EVERY_S", 0.01)
    claim = Claim.take(tmp_path)
    with claim.held():
        os.utime(claim.path, (0, 0))
        deadline = time.monotonic() + 5
        while claim.path.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert claim.path.stat().st_mtime > 0
        assert is_claimed(tmp_path)
    assert not is_claimed(tmp_path)
