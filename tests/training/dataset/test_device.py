"""Memory that tensors free: kept while answers are sampled, given back afterwards. And work that threads share."""

import ctypes
import resource
import threading
import time

import pytest

torch = pytest.importorskip("torch")

from training.dataset.device import AT_ONCE, memory_kept, side_by_side  # noqa: E402

MEGABYTES = 64
PAGES = MEGABYTES * 2**20 // resource.getpagesize()

gnu = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not the C library of GNU")


def fill() -> int:
    """Page faults of a large tensor that comes and goes."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(MEGABYTES * 2**20, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident() -> int:
    with open("/proc/self/statm") as table:
        return int(table.read().split()[1])


@gnu
def test_the_same_pages_are_used_again_and_given_back_in_the_end():
    before = resident()
    with memory_kept():
        faults = sum(fill() for _ in range(40))
    assert faults < 20 * PAGES  # malloc needs a few places before it comes back to one
    assert resident() - before < PAGES // 10


@gnu
def test_an_error_ends_it_too():
    before = resident()
    try:
        with memory_kept():
            fill()
            raise ValueError
    except ValueError:
        assert resident() - before < PAGES // 10
    else:
        pytest.fail("the error is gone")


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_threads_take_a_part_each_and_results_keep_their_order(three_threads):
    meeting, alone = threading.Barrier(3, timeout=20), []

    def work(part, gone):
        meeting.wait()  # nobody passes before three are at work
        alone.append(torch.get_num_threads())
        time.sleep(0.02 * (3 - part % 3))  # the first is the last to end
        return part, threading.get_ident()

    found = list(side_by_side(work, range(6), threads=3))
    assert [part for part, _ in found] == list(range(6))
    assert threading.get_ident() not in {thread for _, thread in found}
    assert alone == [1] * 6
    assert torch.get_num_threads() == 3
    assert "mkl_get_max_threads() : 3" in torch.__config__.parallel_info() or not torch.backends.mkl.is_available()


def test_one_thread_is_the_caller_s_own_and_works_when_asked(three_threads):
    begun = []

    def work(part, gone):
        begun.append(part)
        return threading.get_ident(), torch.get_num_threads()

    found = side_by_side(work, range(3), threads=1)
    assert next(found) == (threading.get_ident(), 3)
    assert begun == [0]


def test_many_threads_share_few_parts():
    before, meeting = torch.get_num_threads(), threading.Barrier(AT_ONCE, timeout=20)
    most, at_work = [], set()

    def work(part, gone):
        at_work.add(part)
        most.append(len(at_work))
        meeting.wait()
        at_work.discard(part)
        return torch.get_num_threads()

    assert list(side_by_side(work, range(2 * AT_ONCE), threads=3 * AT_ONCE)) == [3] * 2 * AT_ONCE
    assert max(most) == AT_ONCE
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("threads", [1, 3])
def test_the_error_of_a_part_comes_where_its_result_would(threads):
    def work(part, gone):
        if part == 2:
            raise ValueError("the third")
        return part

    found = side_by_side(work, range(9), threads=threads)
    assert [next(found), next(found)] == [0, 1]
    with pytest.raises(ValueError, match="the third"):
        next(found)
    assert list(found) == []


def test_who_leaves_is_not_waited_for_to_the_end():
    begun, told = [], []

    def work(part, gone):
        begun.append(part)
        if part:
            told.append(gone.wait(timeout=5))
        return part

    found = side_by_side(work, range(50), threads=2)
    assert next(found) == 0
    found.close()
    assert len(begun) <= 4
    assert told
    assert all(told)
