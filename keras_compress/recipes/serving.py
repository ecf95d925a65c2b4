"""What a server does: loads a SavedModel, in a process of its own, and predicts.

python -m keras_compress.recipes.serving SAVED_MODEL INPUTS.npy OUTPUTS.npy
"""

import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import tensorflow as tf


def predict(path, inputs, batch=1000):
    """The outputs of a SavedModel's `serving_default`, which has one of each.

    Args:
        path: The SavedModel's directory.
        inputs: Array with the examples in front.
        batch: Positive integer, examples a call.

    Returns:
        Array with the examples in front.
    """
    # `keras_compress` is imported, for this file is in it: its native ops are known.
    serve = tf.saved_model.load(str(path)).signatures["serving_default"]
    (name,) = serve.structured_input_signature[1]
    parts = []
    for start in range(0, len(inputs), batch):
        outputs = serve(**{name: tf.constant(inputs[start : start + batch])})
        (output,) = outputs.values()
        parts.append(output.numpy())
    return np.concatenate(parts)


def predict_in_fresh_process(path, inputs):
    """`predict`, in a new Python that knows nothing of the model but its files.

    Args:
        path: The SavedModel's directory.
        inputs: Array with the examples in front.

    Returns:
        Array with the examples in front.

    Raises:
        RuntimeError: If the process fails, with the last line of what it said.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, target = (pathlib.Path(folder) / f"{x}.npy" for x in ("in", "out"))
        np.save(source, inputs)
        command = [sys.executable, "-m", __name__, path, source, target]
        done = subprocess.run(
            [str(word) for word in command], capture_output=True, text=True, check=False
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no message"]
            raise RuntimeError(f"{path} could not be served: {lines[-1]}")
        return np.load(target)


if __name__ == "__main__":
    np.save(sys.argv[3], predict(sys.argv[1], np.load(sys.argv[2])))
