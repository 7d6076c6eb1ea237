"""The compiled part of linearity.

A tile is a piece of one row inside one read-out channel. Its scratch rows stay in the first-level cache, and all have
the same fixed width, so that the compiler uses vector instructions throughout; lanes beyond the tile hold zeros. The
numbers of coefficients are lengths of tuples, hence constants for the compiler, which unrolls Horner's rule.
"""

from __future__ import annotations

import numpy as np
from numba import carray, njit, types  # type: ignore[attr-defined]
from numba.extending import intrinsic

from roman_nexus.dq import PixelFlag, ResultantFlag
from roman_nexus.steps.step import CHANNEL_WIDTH

__all__ = ["correct"]

NO_LIN_CORR = np.uint32(PixelFlag.NO_LIN_CORR)
SATURATED = np.uint8(ResultantFlag.SATURATED)
DO_NOT_USE = np.uint8(ResultantFlag.DO_NOT_USE)
LIMIT = np.float32(1e6)  #: DN; nothing a pixel can hold is linearised to more
ZERO = np.float32(0.0)


@intrinsic
def _stack_row(typing_context):  # type: ignore[no-untyped-def]
    """Reserve one scratch row on the stack, of which the compiler knows that no argument overlaps it."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        with builder.goto_entry_block():
            return builder.alloca(context.get_value_type(types.float64), size=CHANNEL_WIDTH)

    return types.CPointer(types.float64)(), code  # type: ignore[no-untyped-call]


@njit(nogil=True, cache=True, error_model="numpy")
def _load_coefficients(planes, dq, y, x0, width, rows, broken):  # type: ignore[no-untyped-def]
    """Bring the polynomials of a tile into float64 rows, the identity where there is no good one."""
    for x in range(width):
        broken[x] = False
    for k in range(len(planes)):
        plane = planes[k]
        for x in range(width):
            value = plane[y, x0 + x]
            rows[k, x] = np.float64(value)
            broken[x] |= value != value
    for x in range(width):
        broken[x] |= rows[1, x] == 0.0
    for k in range(len(planes)):
        identity = 1.0 if k == 1 else 0.0
        for x in range(width):
            if broken[x] | (dq[y, x0 + x] & NO_LIN_CORR != 0):
                rows[k, x] = identity


@njit(nogil=True, cache=True, error_model="numpy")
def _pick_ends(data, groupdq, y, x0, width, last, ends, kept):  # type: ignore[no-untyped-def]
    """Find the first and the last resultant that make the line, and whether they are saturated."""
    last[:] = -2
    for i in range(data.shape[0]):
        for x in range(width):
            last[x] += (groupdq[i, y, x0 + x] & SATURATED) == 0
    for x in range(width):
        last[x] = max(last[x], 1)
        ends[0, x], ends[1, x] = data[0, y, x0 + x], data[last[x], y, x0 + x]
        kept[0, x], kept[1, x] = groupdq[0, y, x0 + x] & SATURATED, groupdq[last[x], y, x0 + x] & SATURATED


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _draw_line(ends, kept, last, means, n_terms, linear, first, rate):  # type: ignore[no-untyped-def]
    """Linear counts at the first resultant and their rate per read; ends in float32, quotient in float64."""
    for end in range(2):
        for x in range(CHANNEL_WIDTH):
            count = ends[end, x]
            value = np.float32(linear[n_terms - 1, x]) * count
            for k in range(n_terms - 2, 0, -1):
                value = (value + np.float32(linear[k, x])) * count
            ends[end, x] = count if kept[end, x] else value + np.float32(linear[0, x])
    for x in range(CHANNEL_WIDTH):
        first[x] = np.float64(ends[0, x])
        rate[x] = np.float64(ends[1, x] - ends[0, x]) / (means[last[x]] - means[0])


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _predict(first, rate, reads, n_terms, inverse, counts, total):  # type: ignore[no-untyped-def]
    """Find the counts that the converter saw in one read, and add them to `total`."""
    for x in range(CHANNEL_WIDTH):
        line = first[x] + rate[x] * reads
        value = inverse[n_terms - 1, x] * line
        for k in range(n_terms - 2, 0, -1):
            value = (value + inverse[k, x]) * line
        value = value + inverse[0, x]
        counts[x] = value
        total[x] += value


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _linearise(counts, n_terms, linear, total):  # type: ignore[no-untyped-def]
    """Linearise the counts of one read and add them to `total`."""
    for x in range(CHANNEL_WIDTH):
        value = linear[n_terms - 1, x] * counts[x]
        for k in range(n_terms - 2, 0, -1):
            value = (value + linear[k, x]) * counts[x]
        total[x] += value + linear[0, x]


@njit(nogil=True, cache=True, error_model="numpy")
def _add_from_table(counts, table):  # type: ignore[no-untyped-def]
    """Add the linearly interpolated correction where a count is its own place in the table."""
    top = np.float64(table.size - 2)
    corrected = carray(_stack_row(), (CHANNEL_WIDTH,))  # type: ignore[call-arg]
    for x in range(CHANNEL_WIDTH):  # type: ignore[unreachable]
        place = counts[x] if counts[x] > 0.0 else 0.0  # NaN becomes 0, and comes back in the sum
        place = place if place < top else top
        left = np.int32(place)
        index = np.uintp(np.uint32(left))
        low, high = table[index], table[index + np.uintp(1)]
        corrected[x] = counts[x] + ((high - low) * (place - np.float64(left)) + low)
    for x in range(CHANNEL_WIDTH):
        counts[x] = corrected[x]


@njit(nogil=True, cache=True, error_model="numpy")
def _add_by_search(counts, abscissa, table):  # type: ignore[no-untyped-def]
    """Add the linearly interpolated correction for any increasing abscissa."""
    last = abscissa.size - 1
    for x in range(CHANNEL_WIDTH):
        count = counts[x]
        left = np.searchsorted(abscissa, count, side="right") - 1
        if left < 0:
            counts[x] = count + table[0]
        elif left >= last or abscissa[left] == count:
            counts[x] = count + table[min(left, last)]
        else:
            slope = (table[left + 1] - table[left]) / (abscissa[left + 1] - abscissa[left])
            counts[x] = count + (slope * (count - abscissa[left]) + table[left])


@njit(nogil=True, cache=True, error_model="numpy")
def _store(data, groupdq, i, y, x0, width, total, n_reads):  # type: ignore[no-untyped-def]
    """Write the mean of the linearised reads, unless saturated, and clip what cannot be true."""
    for x in range(width):
        value = np.float32(total[x] / n_reads)
        value = data[i, y, x0 + x] if groupdq[i, y, x0 + x] & SATURATED else value
        flag = np.uint8(0)
        if abs(value) > LIMIT:
            value = LIMIT if value > ZERO else -LIMIT
            flag = DO_NOT_USE
        data[i, y, x0 + x] = value
        groupdq[i, y, x0 + x] |= flag


@njit(nogil=True, cache=True, error_model="numpy")
def correct(data, groupdq, pixeldq, column, linear_planes, inverse_planes, dq, reads, starts, means, abscissa, tables):  # type: ignore[no-untyped-def]
    """Linearise a block, tile by tile.

    `column` is the full-frame column where the block begins. `tables` has a row for each channel, or none; an empty
    `abscissa` means that counts are their own places in the table.
    """
    nresultants, ny, nx = data.shape
    n_linear, n_inverse = len(linear_planes), len(inverse_planes)
    linear, inverse = np.zeros((n_linear, CHANNEL_WIDTH)), np.zeros((n_inverse, CHANNEL_WIDTH))
    first, rate, total, offset = np.zeros((4, CHANNEL_WIDTH))
    counts = np.zeros((np.max(starts[1:] - starts[:-1]), CHANNEL_WIDTH))
    ends = np.zeros((2, CHANNEL_WIDTH), dtype=np.float32)
    kept = np.zeros((2, CHANNEL_WIDTH), dtype=np.uint8)
    last = np.zeros(CHANNEL_WIDTH, dtype=np.int32)
    no_linear, no_inverse = np.zeros((2, CHANNEL_WIDTH), dtype=np.bool_)
    for y in range(ny):
        for channel in range(column // CHANNEL_WIDTH, (column + nx - 1) // CHANNEL_WIDTH + 1):
            x0 = max(channel * CHANNEL_WIDTH - column, 0)
            width = min((channel + 1) * CHANNEL_WIDTH - column, nx) - x0
            _load_coefficients(linear_planes, dq, y, x0, width, linear, no_linear)
            _load_coefficients(inverse_planes, dq, y, x0, width, inverse, no_inverse)
            for x in range(width):
                missing = NO_LIN_CORR if no_linear[x] | no_inverse[x] else np.uint32(0)
                pixeldq[y, x0 + x] |= dq[y, x0 + x] | missing
            _pick_ends(data, groupdq, y, x0, width, last, ends, kept)
            _draw_line(ends, kept, last, means, n_linear, linear, first, rate)
            for i in range(nresultants):
                n_reads = starts[i + 1] - starts[i]
                total[:] = -0.0  # the neutral element of addition, also for a sum of -0.0
                for r in range(n_reads):
                    _predict(first, rate, reads[starts[i] + r], n_inverse, inverse, counts[r], total)
                for x in range(width):
                    offset[x] = np.float64(data[i, y, x0 + x]) - total[x] / n_reads
                total[:] = -0.0
                for r in range(n_reads):
                    row = counts[r]
                    for x in range(CHANNEL_WIDTH):
                        row[x] += offset[x]
                    if len(tables) and len(abscissa):
                        _add_by_search(row, abscissa, tables[channel])
                    elif len(tables):
                        _add_from_table(row, tables[channel])
                    _linearise(row, n_linear, linear, total)
                _store(data, groupdq, i, y, x0, width, total, n_reads)
