"""Sparse kernels with their zeros, in plain TensorFlow, for `ops.sparse`."""

import tensorflow as tf

from keras_compress.functional.sparse_layouts import (
    BLOCK,
    CHUNK,
    GROUP,
    PANEL,
    PARTS,
    WINDOW,
    WINDOW_STEP,
)


def dense(weights, layout, inputs, units):
    """The kernel with its zeros, `(inputs, units)`."""
    rows, columns = positions(weights, layout, inputs, units)
    # Lanes without a weight may look behind the last input, and be behind the last
    # unit, as a panel's last columns may. Others may not, and are refused.
    rows_behind = WINDOW if layout == "lanes" else 0
    units_behind = {"lanes": GROUP, "panel16": PANEL}.get(layout, 0)
    shape = tf.stack([inputs + rows_behind, units + units_behind])
    at = tf.stack([rows, columns], 1)
    kernel = tf.scatter_nd(at, tf.reshape(weights[0], [-1]), shape)
    return kernel[:inputs, :units]


def gather(kernel, weights, layout):
    """The numbers of a dense kernel that stand where `values` do."""
    inputs, units = tf.shape(kernel)[0], tf.shape(kernel)[1]
    rows, columns = positions(weights, layout, inputs, units)
    padded = tf.pad(kernel, [[0, WINDOW], [0, GROUP]])
    return tf.gather_nd(padded, tf.stack([rows, columns], 1))


def positions(weights, layout, inputs, units):
    """Input and unit of every stored weight, two int32 vectors."""
    parts = dict(zip(PARTS[layout], weights, strict=True))
    indices = tf.cast(parts["indices"], tf.int32)
    if layout == "kblock":
        return _in_blocks(indices, parts["segments"], inputs, units)
    if layout == "csc":
        return indices, _owners(parts["starts"], tf.size(indices))
    if layout == "panel16":
        panels = _owners(parts["starts"], tf.size(indices))
        columns = panels[:, None] * PANEL + tf.range(PANEL)
        return tf.repeat(indices, PANEL), tf.reshape(columns, [-1])
    windows = tf.cast(parts["windows"], tf.int32)
    groups = _owners(parts["starts"], tf.size(windows))
    columns = tf.gather(tf.reshape(parts["order"], [-1, GROUP]), groups)
    offsets = tf.reshape(indices % WINDOW, [-1, GROUP])
    rows = windows[:, None] * WINDOW_STEP + offsets
    return tf.reshape(rows, [-1]), tf.reshape(columns, [-1])


def _in_blocks(indices, segments, inputs, units):
    segments = tf.reshape(tf.cast(segments, tf.int32), [-1, 2])
    ends = tf.cumsum(segments[:, 1])
    segment = tf.searchsorted(ends, tf.range(tf.size(indices)), side="right")
    blocks = (inputs + BLOCK - 1) // BLOCK
    chunk = segment // (CHUNK * blocks)
    # All chunks but the last one are full.
    width = tf.minimum(CHUNK, units - chunk * CHUNK)
    block = (segment - chunk * (CHUNK * blocks)) // width
    columns = chunk * CHUNK + tf.gather(segments[:, 0], segment)
    return block * BLOCK + indices, columns


def _owners(starts, count):
    """Which run each of `count` things is in, of those that begin at `starts`."""
    starts = tf.convert_to_tensor(starts, tf.int32)
    return tf.searchsorted(starts[1:], tf.range(count), side="right")
