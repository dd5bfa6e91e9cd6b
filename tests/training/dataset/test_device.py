"""Memory that tensors free: kept while answers are sampled, given back afterwards."""

import ctypes
import resource

import pytest

torch = pytest.importorskip("torch")

from training.dataset.device import memory_kept  # noqa: E402

MEGABYTES = 64
PAGES = MEGABYTES * 2**20 // resource.getpagesize()

pytestmark = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not the C library of GNU")


def fill() -> int:
    """Page faults of a large tensor that comes and goes."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(MEGABYTES * 2**20, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident() -> int:
    with open("/proc/self/statm") as table:
        return int(table.read().split()[1])


def test_the_same_pages_are_used_again_and_given_back_in_the_end():
    before = resident()
    with memory_kept():
        faults = sum(fill() for _ in range(40))
    assert faults < 20 * PAGES  # malloc needs a few places before it comes back to one
    assert resident() - before < PAGES // 10


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
