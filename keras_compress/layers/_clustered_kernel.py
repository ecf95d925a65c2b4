"""The technique of weight sharing: a codebook that trains, and who has which value."""

import keras
import numpy as np
from keras import ops

from keras_compress._validation import check_choice, check_int
from keras_compress.functional import clustering
from keras_compress.functional.sign import read
from keras_compress.layers.pruned import is_pruned


class Clustered:
    """The technique: a codebook that trains, and which of its values a weight has."""

    def __init__(self, *args, bits=4, init="linear", **kwargs):
        self.bits = check_int("bits", bits, minimum=1, maximum=clustering.MOST_BITS)
        self.init = check_choice("init", init, clustering.INITS)
        super().__init__(*args, **kwargs)

    def build(self, input_shape):
        super().build(input_shape)
        if self.kernel_regularizer is not None:
            self.kernel.regularizer = _OfSharedWeights(self)
        is_not_negative = isinstance(self.kernel_constraint, keras.constraints.NonNeg)
        # In full precision whatever the policy: each sums the gradients of thousands.
        self.codebook = self.add_weight(
            name="codebook",
            shape=(2**self.bits,),
            dtype=self.variable_dtype,
            initializer="zeros",
            constraint=self.kernel_constraint if is_not_negative else None,
            autocast=False,
        )
        self.assignments = self._add_state("assignments", self.kernel.shape, "uint8")
        self.shares = self._add_state("shares", (), "bool")

    def effective_kernel(self, training=False):
        kernel = read(super().effective_kernel(training))
        values = clustering.shared(self.codebook, self.assignments)
        return ops.where(self.shares, ops.cast(values, kernel.dtype), kernel)

    def cluster(self):
        """Lets weights share values from now on: `2 ** bits` centroids of k-means.

        Which centroid a weight has is settled here, by the weights as they are; what
        the centroids are, training goes on to find. Masked weights stay 0 and count
        for nothing. A compiled model goes on as it is. Called again, it clusters the
        shared values anew.

        Raises:
            ValueError: If the layer is not built, a weight is not finite, or the kernel
                has another constraint than `NonNeg`.

        Reference:
            - [Han et al., 2016](https://arxiv.org/abs/1510.00149), section 3
        """
        if not self.built:
            raise ValueError(
                f"Layer {self.name!r} must be built before its weights are shared: "
                "call it or its model on data first."
            )
        if not isinstance(self.kernel_constraint, keras.constraints.NonNeg | None):
            # Of norms, there is none that centroids alone could keep to.
            raise ValueError(
                f"Weights of layer {self.name!r} cannot be shared: "
                "`kernel_constraint` must be None or NonNeg. Received: "
                f"{self.kernel_constraint!r}"
            )
        kernel = unmasked_kernel(self)
        mask = ops.convert_to_numpy(self.mask) if is_pruned(self) else slice(None)
        try:
            centroids = clustering.kmeans(kernel[mask], 2**self.bits, self.init)
        except ValueError as error:
            raise ValueError(
                f"Weights of layer {self.name!r} cannot be clustered: {error}"
            ) from error
        self.assignments.assign(clustering.nearest(kernel, centroids))
        self.codebook.assign(centroids)
        self.shares.assign(True)

    @property
    def is_clustered(self):
        """Whether weights share values yet."""
        return self.built and bool(ops.convert_to_numpy(self.shares))

    def get_config(self):
        return {**super().get_config(), "bits": self.bits, "init": self.init}

    def _add_state(self, name, shape, dtype):
        return self.add_weight(
            name=name,
            shape=shape,
            dtype=dtype,
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
        )


def unmasked_kernel(layer):
    """The weights of a layer as an array, whether masked or not; shared if they are."""
    kernel = layer.kernel
    if isinstance(layer, Clustered):
        kernel = Clustered.effective_kernel(layer)
    return np.asarray(ops.convert_to_numpy(kernel), "float64")


class _OfSharedWeights(keras.regularizers.Regularizer):
    """The regularizer of a layer's kernel, of what it computes with instead."""

    def __init__(self, layer):
        self.layer = layer

    def __call__(self, kernel):
        return self.layer.kernel_regularizer(self.layer.effective_kernel())
