"""How far a model's outputs move when some of its kernels are exchanged."""

import math

import keras
import numpy as np

from keras_compress._activations import batches
from keras_compress._rebuild import rebuild, walk
from keras_compress._whitening import set_kernel
from keras_compress.layers._fitted import kernel_of


class OutputError:
    """The model's outputs on data, and their error with other kernels."""

    def __init__(self, model, arrays):
        self._copy = rebuild(model, lambda layer: None)
        pairs = zip(walk(model), walk(self._copy), strict=True)
        self._twins = {id(layer): copy for (_, layer), (_, copy) in pairs}
        self._arrays = arrays
        self._expected = self._run()
        self._norm = math.sqrt(sum(float(np.sum(x**2)) for x in self._expected))

    def error_with(self, kernels):
        """Relative error of the outputs with kernels by the ids of their layers."""
        copies = [self._twins[key] for key in kernels]
        before = [kernel_of(copy) for copy in copies]
        for copy, kernel in zip(copies, kernels.values(), strict=True):
            set_kernel(copy, kernel)
        found = self._run()
        for copy, kernel in zip(copies, before, strict=True):
            set_kernel(copy, kernel)
        pairs = zip(found, self._expected, strict=True)
        total = sum(float(np.sum((one - other) ** 2)) for one, other in pairs)
        return math.sqrt(total) / (self._norm or 1.0)

    def error(self, layers):
        """Relative error of the outputs with all layers at their ranks."""
        cut = [layer for layer in layers if layer.rank is not None]
        return self.error_with({id(x.layer): x.cut_kernel(x.rank) for x in cut})

    def _run(self):
        parts = [
            keras.tree.flatten(self._copy(inputs, training=False))
            for inputs in batches(self._copy, self._arrays)
        ]
        return [
            np.concatenate([np.asarray(x, "float64") for x in output])
            for output in zip(*parts, strict=True)
        ]
