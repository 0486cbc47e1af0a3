from geomtp.labels.engine.progress import LabelProgress, clock_text


def test_speeds_and_time_left():
    now, said = [0.0], []
    progress = LabelProgress(said.append, 40, clock=lambda: now[0])
    for _ in range(10):
        now[0] += 2.0
        progress.add(30)
    assert said == [
        "labels  3 of 40 images, 0.5 images/s, 15 instances/s, 1:14 left",
        "labels  6 of 40 images, 0.5 images/s, 15 instances/s, 1:08 left",
        "labels  9 of 40 images, 0.5 images/s, 15 instances/s, 1:02 left",
    ]
    assert (progress.done, progress.instances) == (10, 300)


def test_times():
    assert [clock_text(s) for s in (0, 59.6, 3599, 3661)] == ["0:00", "1:00", "59:59", "1:01:01"]
