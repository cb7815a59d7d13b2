"""Sparse matrices for the solver of the fit, which asks for scipy's but only reads their parts.

Importing `scipy.sparse` would take a tenth of the time in which a stream shows its first segment.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Columns:
    """A matrix by its columns. Attributes: as those of `scipy.sparse.csc_matrix`, rows in order and each one once."""

    shape: tuple[int, int]
    indptr: NDArray[np.int64]
    indices: NDArray[np.int64]
    data: NDArray[np.float64]
    has_canonical_format: bool = True


def columns(values: NDArray[np.float64], cells: tuple[NDArray[np.int64], NDArray[np.int64]], shape: tuple[int, int]) -> Columns:
    """The matrix of this shape with these values in these cells (rows, columns); what shares a cell is added up."""
    row, column = cells
    places, which = np.unique(column.astype(np.int64) * shape[0] + row, return_inverse=True)
    starts = np.searchsorted(places, np.arange(shape[1] + 1) * shape[0])
    sums = np.bincount(which, values, len(places)).astype(np.float64)
    return Columns(shape, starts.astype(np.int64), places % max(1, shape[0]), sums)
