"""Where models compute, how their memory is kept, and how threads share work. Knows no model."""

import ctypes
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import TypeVar

import torch

AT_ONCE = 4  # parts of one work, side by side
Part, Found = TypeVar("Part"), TypeVar("Found")

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4  # of malloc.h
KEEPING = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: 2**31 - 1}
USUAL = {M_MMAP_MAX: 65_536, M_MMAP_THRESHOLD: 32 * 2**20, M_TRIM_THRESHOLD: 64 * 2**20}  # glibc grows to it by itself


def default_device() -> torch.device:
    """The GPU if there is one, the CPU otherwise."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def memory_kept() -> Iterator[None]:
    """Memory that tensors free stays with the process for the next ones, until the end of the block.

    By itself glibc's malloc maps each large block anew and gives it back at once, so that the kernel clears the same
    pages again and again: `manage.py benchmark sampling` measures what that costs. The price is memory: the process
    takes what its worst moment took, and some third more. With another C library nothing changes.
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        yield
        return
    try:
        for name, value in KEEPING.items():
            libc.mallopt(name, value)
        yield
    finally:
        for name, value in USUAL.items():
            libc.mallopt(name, value)
        libc.malloc_trim(0)


def side_by_side(work: Callable[[Part, Event], Found], parts: Iterable[Part], *, threads: int) -> Iterator[Found]:
    """What `work` makes of each part, in order. Each of the threads takes parts of its own, so that on the CPU the same
    comes of a part however many there are; of more than AT_ONCE several share a part, since parts at work take memory.
    The event is set when nobody waits for what is still to come.
    """
    gone, count = Event(), min(threads, AT_ONCE)
    if count == 1:
        yield from (work(part, gone) for part in parts)
        return
    before, waiting = torch.get_num_threads(), deque[Future[Found]]()
    pool = ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(threads // count,))
    try:
        for part in parts:
            waiting.append(pool.submit(work, part, gone))
            if len(waiting) > count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        gone.set()
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)  # of the library behind it, which knows one number for all threads
