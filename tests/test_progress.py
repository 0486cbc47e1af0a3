from geomtp.progress import Progress, clock_text


def test_speeds_and_time_left():
    now, said = [0.0], []
    progress = Progress(said.append, "labels", 40, "images", "instances", clock=lambda: now[0])
    for _ in range(10):
        now[0] += 2.0
        progress.add(parts=30)
    assert said == [
        "labels  3 of 40 images, 0.5 images/s, 15 instances/s, 1:14 left",
        "labels  6 of 40 images, 0.5 images/s, 15 instances/s, 1:08 left",
        "labels  9 of 40 images, 0.5 images/s, 15 instances/s, 1:02 left",
    ]
    assert (progress.done, progress.parts) == (10, 300)


def test_what_is_skipped_is_done_but_not_fast_and_nothing_is_told_twice():
    said, now = [], [0.0]
    progress = Progress(said.append, "maps", 100, "windows", clock=lambda: now[0])
    for _ in range(4):
        now[0] += 2
        progress.add(5, skipped=1)
    assert said == ["maps  15 of 100 windows, 2.0 windows/s, 0:34 left"]
    progress.tell()
    progress.tell()
    assert said[1:] == ["maps  20 of 100 windows, 2.0 windows/s, 0:32 left"]


def test_times():
    assert [clock_text(s) for s in (0, 59.6, 3599, 3661)] == ["0:00", "1:00", "59:59", "1:01:01"]
