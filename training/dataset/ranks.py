"""Correlation of values and of ranks. None where it is not defined, such as for constants."""

from collections.abc import Sequence

import numpy as np


def correlation(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Pearson's."""
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.corrcoef(a, b)[0, 1])


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Spearman's: do both put things in the same order?"""
    found = correlation(ranks(a), ranks(b))
    return None if found is None else round(found, 6)


def ranks(values: Sequence[float]) -> np.ndarray:
    """Ranks from 0; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[inverse]
