"""`CompressionLogger`: how compressed each layer is, in the logs and in TensorBoard."""

import importlib.util

import keras
import tensorflow as tf

from keras_compress.callbacks._pruned_layers import pruned_layers
from keras_compress.layers.pruned import packed_bytes


class CompressionLogger(keras.callbacks.Callback):
    """Logs the sparsity and the compressed size of every pruned layer, epoch by epoch.

    Adds `<layer>/sparsity` and `<layer>/packed_bytes` to the logs, from where they
    reach `History`; a layer inside a nested model has the path that `swap` knows it by,
    such as `block/fc1`. Inside a custom layer it has its name, with a `'` for each time
    that it came before. Writes them as TensorBoard scalars if asked to.

    Args:
        log_dir: Directory for TensorBoard. Defaults to `None`: logs only.

    Raises:
        ImportError: If `log_dir` is given and tensorboard is not installed.

    Example:

    >>> logger = CompressionLogger()
    """

    def __init__(self, log_dir=None):
        super().__init__()
        if log_dir is not None and importlib.util.find_spec("tensorboard") is None:
            raise ImportError(
                "CompressionLogger writes to `log_dir` through tensorboard, which is "
                'not installed: pip install "keras-compress[tensorboard]"'
            )
        self.log_dir = log_dir
        self._writer = None

    def on_train_begin(self, logs=None):
        if self.log_dir is not None:
            self._writer = tf.summary.create_file_writer(str(self.log_dir))

    def on_epoch_end(self, epoch, logs=None):
        values = {}
        for path, layer in pruned_layers(self.model).items():
            values[f"{path}/sparsity"] = layer.sparsity
            values[f"{path}/packed_bytes"] = packed_bytes(layer)
        if logs is not None:
            logs.update(values)
        if self._writer is not None:
            with self._writer.as_default(step=epoch):
                for name, value in values.items():
                    tf.summary.scalar(name, value)

    def on_train_end(self, logs=None):
        if self._writer is not None:
            self._writer.close()
            self._writer = None
