"""Where models compute, and how their memory is kept. Knows no model."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

import torch

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
