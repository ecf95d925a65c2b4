"""A matrix without its zeros: what is kept, in which layout."""

import numpy as np

from keras_compress._validation import check_choice, check_int, invalid
from keras_compress.functional.sparse_layouts import (
    BLOCK,
    CHUNK,
    GROUP,
    LAYOUTS,
    PANEL,
    PARTS,
    WINDOW,
    WINDOW_STEP,
    index_dtype,
    part_shapes,
    reach,
)


def compress(matrix, layout="csc"):
    """Keeps what is not zero of a matrix.

    A layout is where kept weights lie, so that a product finds them fast:

    - `"csc"`, compressed columns: the weights of the first column, then of the second,
      and so on, each in ascending order of input; `indices`, the input of each;
      `starts`, where each column starts, and the number of weights.
    - `"panel16"`, for blocks of one input and 16 consecutive outputs: a panel is 16
      columns, and has 16 weights for every input that one of them keeps; `indices`,
      the input of each block; `starts`, where each panel starts, in blocks.
    - `"lanes"`, for single rows: columns are sorted by what they keep (`order`), and
      32 of them take a step together, one weight each or 0, from 32 inputs that begin
      at 4 times `windows`; `indices`, which of the 32; `starts`, in steps.
    - `"kblock"`, for many rows: outputs are cut in chunks of 64, inputs in blocks of
      96. For each chunk, and each block in it, `segments` has for every output its
      place in the chunk and how many weights of the block follow, those with more of
      them first; `indices`, the input within the block.

    Args:
        matrix: Float array `(inputs, units)`. A kernel of a convolution is given as
            `kernel.reshape(-1, filters)`.
        layout: One of `keras_compress.functional.sparse_layouts.LAYOUTS`.

    Returns:
        A tuple of arrays, named in `sparse_layouts.PARTS[layout]`: `values` float32
        `(stored,)`; `indices` uint16, or for `"csc"` of more than 65536 inputs int32,
        and uint8 for `"lanes"` and `"kblock"`; `starts` int32; `windows` uint16;
        `order` int32; `segments` uint8 `(2 * units * ceil(inputs / 96),)`.

    Raises:
        ValueError: If `matrix` is not a matrix of floats, keeps 2^31 weights or more,
            or has more inputs than the layout reaches: 65,536 for `"panel16"`,
            262,144 for `"lanes"`.

    Example:

    >>> compress(np.array([[0.0, 2.0], [3.0, 0.0]]))[0]
    array([3., 2.], dtype=float32)
    """
    check_choice("layout", layout, LAYOUTS)
    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or not np.issubdtype(matrix.dtype, np.floating):
        received = f"{matrix.dtype} of shape {matrix.shape}"
        raise invalid("matrix", "a float array of shape (inputs, units)", received)
    if len(matrix) > reach(layout):
        expected = f"of at most {reach(layout)} inputs for layout {layout!r}"
        raise invalid("matrix", expected, matrix.shape)
    # A number too small for float32 is a zero there too.
    matrix = np.asarray(matrix, np.float32)
    kept = np.count_nonzero(matrix)
    if kept >= 2**31:
        raise invalid("matrix", "of less than 2**31 nonzero weights", kept)
    return _COMPRESS[layout](matrix)


def decompress(weights, inputs, units, layout="csc"):
    """Undoes `compress`.

    Args:
        weights: The arrays of `PARTS[layout]`.
        inputs: Integer >= 0, the number of rows.
        units: Integer >= 0, the number of columns.
        layout: One of `LAYOUTS`.

    Returns:
        Float32 array `(inputs, units)`.

    Raises:
        ValueError: If an argument is not as said above.

    Example:

    >>> matrix = np.array([[0.0, 2.0], [3.0, 0.0]], "float32")
    >>> bool((decompress(compress(matrix), inputs=2, units=2) == matrix).all())
    True
    """
    inputs = check_int("inputs", inputs, minimum=0)
    units = check_int("units", units, minimum=0)
    check_choice("layout", layout, LAYOUTS)
    weights = _named(weights, inputs, units, layout)
    columns = np.zeros((units, inputs), np.float32)
    values = weights["values"]
    rows, places = _POSITIONS[layout](weights, inputs, units)
    kept = values != 0.0  # a zero may stand where a weight of its column stands
    rows, places, values = rows[kept], places[kept], values[kept]
    for name, found, end in (("indices", rows, inputs), ("order", places, units)):
        if found.size and not (found.min() >= 0 and found.max() < end):
            received = (int(found.min()), int(found.max()))
            raise invalid(name, f"in [0, {end})", received)
    columns[places, rows] = values
    return np.ascontiguousarray(columns.T)


def _named(weights, inputs, units, layout):
    """The arrays by their names, with lengths that go together."""
    names = PARTS[layout]
    if len(weights) != len(names):
        raise invalid("weights", f"{', '.join(names)}", f"{len(weights)} arrays")
    found = dict(zip(names, map(np.asarray, weights), strict=True))
    shapes = part_shapes(layout, found["values"].size, inputs, units)
    for name, (length, _) in shapes.items():
        if found[name].shape != (length,):
            raise invalid(name, f"of shape {(length,)}", found[name].shape)
    if "starts" in found:
        starts = found["starts"]
        end = found["windows" if layout == "lanes" else "indices"].size
        if (np.diff(starts) < 0).any() or starts[0] != 0 or starts[-1] != end:
            expected = f"integers from 0 to {end} that never fall"
            raise invalid("starts", expected, starts.tolist())
    return found


def _starts(counts):
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)


def _csc(matrix):
    columns = np.ascontiguousarray(matrix.T)
    kept = columns != 0.0
    starts = _starts(np.count_nonzero(kept, axis=1))
    indices = np.nonzero(kept)[1].astype(index_dtype(len(matrix)))
    return columns[kept], indices, starts


def _csc_positions(weights, inputs, units):
    places = np.repeat(np.arange(units), np.diff(weights["starts"]))
    return weights["indices"].astype(np.int64), places


def _paneled(matrix, width):
    """`(inputs, panels, width)`, with columns of zeros at the end."""
    padding = -matrix.shape[1] % width
    return np.pad(matrix, ((0, 0), (0, padding))).reshape(
        len(matrix), (matrix.shape[1] + padding) // width, width
    )


def _panel16(matrix):
    paneled = _paneled(matrix, PANEL)
    kept = (paneled != 0.0).any(axis=2).T
    panels, rows = np.nonzero(kept)
    starts = _starts(np.count_nonzero(kept, axis=1))
    return paneled[rows, panels].ravel(), rows.astype(np.uint16), starts


def _panel16_positions(weights, inputs, units):
    rows = np.repeat(weights["indices"].astype(np.int64), PANEL)
    panels = np.repeat(np.arange(-(-units // PANEL)), np.diff(weights["starts"]))
    return rows, (panels[:, None] * PANEL + np.arange(PANEL)).ravel()


def _lanes(matrix):
    inputs = len(matrix)
    counts = np.count_nonzero(matrix, axis=0)
    order = np.argsort(-counts, kind="stable")
    paneled = _paneled(matrix[:, order], GROUP)
    panels = paneled.shape[1]
    order = np.concatenate([order, np.arange(len(order), panels * GROUP)])
    columns = np.ascontiguousarray(np.transpose(paneled, (1, 2, 0)))
    # For each lane its kept inputs one after the other; then one that is never reached.
    lengths = np.count_nonzero(columns, axis=2)
    end = 2 * inputs + 2 * WINDOW
    queue = np.full((panels, GROUP, int(lengths.max(initial=0)) + 1), end)
    panel, lane, row = np.nonzero(columns)
    queue[panel, lane, _places_in_runs(lengths.ravel())] = row
    panel, lane = np.arange(panels)[:, None], np.arange(GROUP)
    taken = np.zeros((panels, GROUP), int)
    steps = []
    while True:
        wanted = queue[panel, lane, taken]
        window = wanted.min(axis=1) // WINDOW_STEP
        left = np.nonzero(window * WINDOW_STEP < inputs)[0]
        if not left.size:
            break
        offset = wanted - window[:, None] * WINDOW_STEP
        takes = (offset < WINDOW) & (wanted < inputs)
        weights = columns[panel, lane, np.where(takes, wanted, 0)]
        steps.append(
            (
                left,
                window[left],
                np.where(takes, offset, 0)[left],
                np.where(takes, weights, 0.0)[left],
            )
        )
        taken += takes
    if not steps:
        nothing = np.zeros(0, np.float32), np.zeros(0, np.uint8)
        starts, windows = np.zeros(panels + 1, np.int32), np.zeros(0, np.uint16)
        return (*nothing, starts, windows, order.astype(np.int32))
    panel, windows, indices, values = map(np.concatenate, zip(*steps, strict=True))
    sort = np.argsort(panel, kind="stable")
    return (
        values[sort].ravel(),
        indices[sort].ravel().astype(np.uint8),
        _starts(np.bincount(panel, minlength=panels)),
        windows[sort].astype(np.uint16),
        order.astype(np.int32),
    )


def _lanes_positions(weights, inputs, units):
    starts, order = weights["starts"], weights["order"].astype(np.int64)
    windows = np.repeat(weights["windows"].astype(np.int64), GROUP)
    panels = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    places = order.reshape(-1, GROUP)[panels].ravel()
    return windows * WINDOW_STEP + weights["indices"] % WINDOW, places


def _places_in_runs(lengths):
    """0, 1, 2, ... in each of consecutive runs of these lengths."""
    starts = np.cumsum(lengths) - lengths
    return np.arange(lengths.sum()) - np.repeat(starts, lengths)


def _kblock(matrix):
    units, blocks = matrix.shape[1], -(-len(matrix) // BLOCK)
    rows, places = np.nonzero(matrix)
    lengths = np.zeros((units, blocks), int)
    np.add.at(lengths, (places, rows // BLOCK), 1)
    # One segment after the other: chunk, block, longest first.
    place, block = (axis.ravel() for axis in np.indices(lengths.shape))
    length = lengths.ravel()
    sort = np.lexsort((place, -length, block, place // CHUNK))
    segments = np.stack([place[sort] % CHUNK, length[sort]], 1).astype(np.uint8)
    rank = np.empty(len(sort), int)
    rank[sort] = np.arange(len(sort))
    mine = rank.reshape(units, blocks)[places, rows // BLOCK]
    sort = np.lexsort((rows, mine))
    values = matrix[rows[sort], places[sort]]
    return values, (rows[sort] % BLOCK).astype(np.uint8), segments.ravel()


def _kblock_positions(weights, inputs, units):
    blocks = -(-inputs // BLOCK)
    place, block = (axis.ravel() for axis in np.indices((units, blocks)))
    sort = np.lexsort((place, block, place // CHUNK))
    chunk, block = place[sort] // CHUNK, block[sort]
    segments = weights["segments"].reshape(-1, 2).astype(np.int64)
    lengths = segments[:, 1]
    if lengths.sum() != weights["values"].size:
        expected = f"of lengths that sum to {weights['values'].size}"
        raise invalid("segments", expected, int(lengths.sum()))
    rows = np.repeat(block * BLOCK, lengths) + weights["indices"]
    return rows, np.repeat(chunk * CHUNK + segments[:, 0], lengths)


_COMPRESS = {"csc": _csc, "panel16": _panel16, "lanes": _lanes, "kblock": _kblock}
_POSITIONS = {
    "csc": _csc_positions,
    "panel16": _panel16_positions,
    "lanes": _lanes_positions,
    "kblock": _kblock_positions,
}
