"""Products with matrices in panels in plain TensorFlow, for `ops.low_rank`.

Weights stay in their panels: outputs are put in order, which are fewer.
"""

import tensorflow as tf

from keras_compress.functional.panels import COLUMNS


def product(inputs, panels, rows, columns):
    """`inputs` `(batch, rows)` times the matrix `(rows, columns)` of these panels."""
    whole = columns // COLUMNS
    found = []
    if whole:
        middle = tf.reshape(panels[: whole * rows * COLUMNS], [whole, rows, COLUMNS])
        # Broken off where there is one panel: a batch of products is not faster.
        if whole == 1:
            found.append(tf.matmul(inputs, middle[0]))
        else:
            several = tf.transpose(tf.matmul(inputs[None], middle), [1, 0, 2])
            found.append(tf.reshape(several, [-1, whole * COLUMNS]))
    left = columns - whole * COLUMNS
    if left:
        last = tf.reshape(panels[whole * rows * COLUMNS :], [rows, left])
        found.append(tf.matmul(inputs, last))
    return found[0] if len(found) == 1 else tf.concat(found, 1)
