"""Work ahead and behind keeps its order, passes errors on and leaves no thread."""

import threading
import time

import pytest

from geomtp.inference.windows.threads import Behind, read_ahead


def test_items_come_in_order_and_few_are_read_ahead():
    taken = []

    def items():
        for i in range(20):
            taken.append(i)
            yield i

    ahead = read_ahead(items(), depth=3)
    assert next(ahead) == 0
    time.sleep(0.3)
    assert len(taken) <= 5  # one given, three waiting, one in hand
    assert list(ahead) == list(range(1, 20))


def test_errors_of_the_reader_come_in_their_turn():
    def items():
        yield 1
        raise OSError("cut off")

    ahead = read_ahead(items(), depth=3)
    assert next(ahead) == 1
    with pytest.raises(OSError, match="cut off"):
        next(ahead)


def test_a_reader_that_is_left_ends():
    before = threading.active_count()
    ahead = read_ahead(iter(range(1000)), depth=1)
    next(ahead)
    ahead.close()
    assert threading.active_count() == before


def test_what_is_put_is_done_in_order_before_the_end():
    done = []
    with Behind(done.append, depth=2) as behind:
        for i in range(10):
            behind.put(i)
    assert done == list(range(10))


def test_errors_of_the_writer_are_raised():
    def fail(item):
        raise OSError(f"disk full at {item}")

    def put(count):
        with Behind(fail, depth=2) as behind:
            for i in range(count):
                behind.put(i)
                time.sleep(0.01)

    for count in (1, 1000):  # at the end, and on the way
        with pytest.raises(OSError, match="disk full at 0"):
            put(count)


def test_after_an_error_elsewhere_what_waits_is_dropped():
    done = []

    def slow(item):
        time.sleep(0.1)
        done.append(item)

    def interrupted():
        with Behind(slow, depth=50) as behind:
            for i in range(50):
                behind.put(i)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(done) < 5
