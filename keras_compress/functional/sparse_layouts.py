"""Layouts of a matrix without its zeros: which arrays, how long, of what type."""

import numpy as np

from keras_compress._validation import check_choice, check_int, invalid

LAYOUTS = ("csc", "panel16", "lanes", "kblock")
PARTS = {
    "csc": ("values", "indices", "starts"),
    "panel16": ("values", "indices", "starts"),
    "lanes": ("values", "indices", "starts", "windows", "order"),
    "kblock": ("values", "indices", "segments"),
}
"""The arrays of each layout, in the order in which `compress` gives them."""

PANEL = 16
"""Outputs side by side in `"panel16"`."""
GROUP = 32
"""Outputs side by side in `"lanes"`."""
WINDOW = 32
"""Inputs that a step of `"lanes"` chooses from."""
WINDOW_STEP = 4
"""Inputs between places where a window may begin."""
BLOCK = 96
"""Inputs of a block of `"kblock"`."""
CHUNK = 64
"""Outputs of a chunk of `"kblock"`."""


def reach(layout):
    """The most inputs that a layout can have.

    >>> reach("panel16")
    65536
    """
    return {"panel16": 2**16, "lanes": 2**18}.get(layout, 2**31 - 1)


def width(layout):
    """How many outputs a layout stores side by side, filled up with zeros.

    >>> width("panel16"), width("csc")
    (16, 1)
    """
    return {"panel16": PANEL, "lanes": GROUP}.get(layout, 1)


def in_panels(kept):
    """How many weights `"panel16"` stores: 16 a block that is not all zero.

    Args:
        kept: Boolean matrix, inputs by units, `True` where a weight is not zero.

    Returns:
        The count, an `int`.

    Example:

    >>> in_panels(np.array([[True, False], [False, False]]))
    16
    """
    inputs, units = kept.shape
    whole = kept[:, : units // PANEL * PANEL].reshape(inputs, -1, PANEL)
    rest = kept[:, units // PANEL * PANEL :]
    blocks = np.count_nonzero(whole.any(axis=2)) + np.count_nonzero(rest.any(axis=1))
    return PANEL * int(blocks)


def index_dtype(inputs, layout="csc"):
    """The dtype of `indices` for this many inputs.

    >>> index_dtype(784), index_dtype(100_000), index_dtype(784, "lanes")
    ('uint16', 'int32', 'uint8')
    """
    if layout in ("lanes", "kblock"):
        return "uint8"
    return "uint16" if inputs <= 2**16 else "int32"


def part_shapes(layout, stored, inputs, units):
    """Length and dtype of each array of a layout, by name.

    Args:
        layout: One of `LAYOUTS`.
        stored: Integer >= 0, the length of `values`.
        inputs: Integer >= 0.
        units: Integer >= 0.

    Returns:
        A dict of tuples `(length, dtype)`, in the order of `PARTS[layout]`.

    Raises:
        ValueError: If an argument is out of range, or `stored` no multiple of 16 or 32
            where so many weights are stored together.

    Example:

    >>> part_shapes("csc", 100, inputs=784, units=10)["starts"]
    (11, 'int32')
    """
    check_choice("layout", layout, LAYOUTS)
    check_int("stored", stored, minimum=0)
    side = width(layout)
    if stored % side:
        raise invalid("stored", f"a multiple of {side} for {layout!r}", stored)
    groups = -(-units // side)
    lengths = {
        "values": (stored, "float32"),
        "indices": (
            stored // PANEL if layout == "panel16" else stored,
            index_dtype(inputs, layout),
        ),
        "starts": (groups + 1, "int32"),
        "windows": (stored // GROUP, "uint16"),
        "order": (groups * GROUP, "int32"),
        "segments": (2 * units * -(-inputs // BLOCK), "uint8"),
    }
    return {name: lengths[name] for name in PARTS[layout]}


def stored_bytes(layout, stored, inputs, units):
    """The bytes of a matrix in a layout.

    Example:
    At 92 % zeros, against the 940,800 bytes of the dense matrix:

    >>> stored_bytes("csc", 18_816, inputs=784, units=300)
    114100
    """
    parts = part_shapes(layout, stored, inputs, units).values()
    return sum(length * np.dtype(dtype).itemsize for length, dtype in parts)
