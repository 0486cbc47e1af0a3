"""Progress is told by windows, with those left out as done."""

from geomtp.inference.map_progress import MapProgress


def test_lines_come_every_five_seconds_and_at_the_end():
    said, now = [], [0.0]
    progress = MapProgress(said.append, 100, clock=lambda: now[0])
    for _ in range(4):
        now[0] += 2
        progress.add(4, 1)
    assert said == ["maps  15 of 100 windows, 2.0 windows/s, 0:34 left"]
    progress.tell()
    progress.tell()
    assert said[1:] == ["maps  20 of 100 windows, 2.0 windows/s, 0:32 left"]
