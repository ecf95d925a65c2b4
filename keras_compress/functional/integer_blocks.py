"""Integers without their zeros, in blocks of 4 inputs by 16 units."""

import numpy as np

from keras_compress._validation import check_int, invalid
from keras_compress.functional.integers import (
    PANEL_UNITS,
    pack_panels,
    unpack_panels,
)

BLOCK_INPUTS = 4
BLOCK_BYTES = 64
MOST_INPUTS = BLOCK_INPUTS * 2**16
"""Blocks are numbered with 16 bits."""

BATCHES = (1, 16, 64)
RATES = {8: (1.0, 1.0, 1.0), 4: (0.68, 1.2, 1.07), "blocks": (2.2, 1.6, 1.5)}
"""Time for each weight that is stored, of a dense product with 8 bits.

Measured on a Zen 4 with AVX-512 VNNI, one thread, 1024 x 1024 weights, 90 % zeros
(`benchmarks/bench_fixed_point.py --core 1`).
"""


def pack_blocks(codes):
    """A matrix of integers as those blocks of it that are not all zeros.

    A block is one step of `integers.pack_panels`, 64 bytes that a register holds: 16
    units, of each its 4 inputs. Blocks lie panel by panel, with their inputs rising.

    Args:
        codes: Integer array `(inputs, units)` of 8 bits; 262,144 inputs at most.

    Returns:
        Tuple of

        - int8 array `(blocks, 16, 4)`
        - uint16 array `(blocks,)`, of each the number of its four inputs
        - int32 array `(ceil(units / 16) + 1,)`, the first block of each panel, and the
          number of blocks

    Raises:
        ValueError: If `codes` is no such matrix.

    Example:

    >>> codes = np.zeros((12, 20), int)
    >>> codes[9, 17] = 5
    >>> blocks, indices, starts = pack_blocks(codes)
    >>> print(indices, starts)
    [2] [0 0 1]
    """
    panels = pack_panels(codes)
    if len(codes) > MOST_INPUTS:
        raise invalid("codes", f"of {MOST_INPUTS} inputs at most", np.shape(codes))
    kept = panels.any(axis=(2, 3))
    starts = np.concatenate([[0], np.cumsum(kept.sum(axis=1))])
    return panels[kept], np.nonzero(kept)[1].astype("uint16"), starts.astype("int32")


def unpack_blocks(blocks, indices, starts, inputs, units):
    """Undoes `pack_blocks`.

    Args:
        blocks: Int8 array, as of `pack_blocks`, and so are the next two.
        indices: Uint16 array.
        starts: Int32 array.
        inputs: Integer >= 0.
        units: Integer >= 0.

    Returns:
        Int8 array `(inputs, units)`.

    Example:

    >>> codes = np.eye(8, 32, dtype=int)
    >>> bool((unpack_blocks(*pack_blocks(codes), 8, 32) == codes).all())
    True
    """
    steps = -(-inputs // BLOCK_INPUTS)
    panels = np.zeros((len(starts) - 1, steps, PANEL_UNITS, BLOCK_INPUTS), np.int8)
    of_panel = np.repeat(np.arange(len(panels)), np.diff(starts))
    panels[of_panel, np.asarray(indices, int)] = blocks
    return unpack_panels(panels, inputs, units)


def count_blocks(codes):
    """How many blocks `pack_blocks` would keep.

    Args:
        codes: Integer array `(inputs, units)`.

    Returns:
        An `int`.

    Example:

    >>> count_blocks(np.eye(8, 32, dtype=int))
    2
    """
    codes = np.asarray(codes)
    sides = zip(codes.shape, (BLOCK_INPUTS, PANEL_UNITS), strict=True)
    padded = np.pad(codes != 0, [(0, -size % side) for size, side in sides])
    rows, columns = padded.shape
    shape = (rows // BLOCK_INPUTS, BLOCK_INPUTS, columns // PANEL_UNITS, PANEL_UNITS)
    return int(padded.reshape(shape).any(axis=(1, 3)).sum())


def blocks_bytes(blocks, units):
    """The bytes of so many blocks, with what says where they are.

    Example:

    >>> blocks_bytes(1638, 1024)
    108368
    """
    return blocks * (BLOCK_BYTES + 2) + 4 * (-(-units // PANEL_UNITS) + 1)


def blocks_pay(blocks, inputs, units, bits, batches=(1, 64)):
    """Whether blocks are smaller than all weights, and faster for all these batches.

    By the rates of `RATES`.

    Args:
        blocks: Integer >= 0, how many are not all zeros.
        inputs: Integer >= 1.
        units: Integer >= 1.
        bits: 16, 8 or 4, of a weight without blocks.
        batches: Integers >= 1, rows in a call.

    Returns:
        A `bool`; never of weights of 16 bits, of which there are no blocks.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> blocks_pay(1638, 1024, 1024, 8), blocks_pay(16384, 1024, 1024, 8)
    (True, False)
    """
    check_int("blocks", blocks, minimum=0)
    check_int("inputs", inputs, minimum=1)
    check_int("units", units, minimum=1)
    if bits == 16 or inputs > MOST_INPUTS:
        return False
    steps = -(-inputs // BLOCK_INPUTS) * -(-units // PANEL_UNITS)
    if blocks_bytes(blocks, units) >= steps * BLOCK_BYTES * bits // 8:
        return False
    for batch in batches:
        i = max(i for i, size in enumerate(BATCHES) if size <= batch)
        if RATES["blocks"][i] * blocks >= RATES[bits][i] * steps:
            return False
    return True
