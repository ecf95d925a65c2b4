"""Low-rank straight-through: a ghost kernel is trained, its projection computes."""

import keras
import numpy as np
from keras import ops

from keras_compress._validation import check_int, invalid
from keras_compress.functional import projection
from keras_compress.functional.low_rank import truncated_svd
from keras_compress.layers._hosts import Conv2DHost, DenseHost

# Columns beyond the rank: with them, one step of iteration a training step keeps up.
GUARD = 8


class Projected:
    """The technique: a basis of the kernel's first right singular vectors."""

    def __init__(self, *args, rank=None, **kwargs):
        self.kernel_rank = rank if rank is None else check_int("rank", rank, minimum=1)
        super().__init__(*args, **kwargs)

    def build(self, input_shape):
        super().build(input_shape)
        self.basis = None
        outputs = self.kernel.shape[-1]
        inputs = int(np.prod(self.kernel.shape[:-1]))
        if self.kernel_rank is None:
            return
        smaller = min(inputs, outputs)
        check_int("rank", self.kernel_rank, minimum=1, maximum=smaller)
        self.basis = self.add_weight(
            name="basis",
            shape=(outputs, min(self.kernel_rank + GUARD, smaller)),
            # A gradient step is float32's, and so is what follows it.
            dtype="float32",
            initializer=keras.initializers.Orthogonal(),
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",
        )

    def effective_kernel(self, training=False):
        """The kernel's projection, shaped like it; its gradient is the kernel's."""
        kernel = super().effective_kernel(training)
        if self.basis is None:
            return kernel
        matrix = ops.reshape(kernel, (-1, kernel.shape[-1]))
        projected = projection.straight_through(matrix, self._first(matrix, training))
        return ops.reshape(projected, kernel.shape)

    @property
    def factors(self):
        """`left` and `right` matrices, whose product the layer computes with."""
        self._check_ranked()
        matrix = ops.convert_to_numpy(self.kernel)
        matrix = matrix.reshape(-1, matrix.shape[-1])
        first = ops.convert_to_numpy(self.basis)[:, : self.kernel_rank]
        return matrix @ first.astype(matrix.dtype), first.T

    def factorize(self, kernel=None):
        """Takes a kernel, and finds its first singular vectors exactly.

        Args:
            kernel: Array of the kernel's shape, finite. Defaults to the present one.

        Raises:
            ValueError: If the layer is not built or has no rank, or `kernel` does not
                fit.
        """
        self._check_ranked()
        if kernel is not None:
            kernel = ops.convert_to_numpy(kernel)
            if kernel.shape != tuple(self.kernel.shape):
                expected = f"of shape {tuple(self.kernel.shape)}"
                raise invalid("kernel", expected, kernel.shape)
            self.kernel.assign(kernel)
        matrix = ops.convert_to_numpy(self.kernel)
        matrix = matrix.reshape(-1, matrix.shape[-1])
        vt = truncated_svd(matrix, self.basis.shape[1])[2]
        self.basis.assign(vt.T)

    def get_config(self):
        return {**super().get_config(), "rank": self.kernel_rank}

    def _first(self, matrix, training):
        """The basis cut to the rank; in training, after a step towards the kernel's."""
        if training:
            new = projection.subspace_step(ops.cast(matrix, "float32"), self.basis)
            self.basis.assign(ops.stop_gradient(new))
        basis = ops.convert_to_tensor(self.basis)
        return ops.cast(basis[:, : self.kernel_rank], matrix.dtype)

    def _check_ranked(self):
        if not self.built:
            raise ValueError(
                f"Layer {self.name!r} must be built before it has factors: call it or "
                "its model on data first."
            )
        if self.basis is None:
            raise ValueError(
                f"Layer {self.name!r} has no factors, for its rank is None."
            )


def _product(inputs, kernel, basis):
    left = ops.matmul(kernel, basis)
    return ops.matmul(ops.matmul(inputs, left), ops.transpose(basis))


@keras.saving.register_keras_serializable("keras_compress")
class ProjectedDense(Projected, DenseHost):
    """`Dense` that computes with its kernel's projection to a rank.

    `activation(inputs @ W V V' + bias)`, where `V` are the first right singular vectors
    of the kernel `W`: the nearest kernel of the rank. The gradient is that of the
    projection, given to the whole ghost kernel as it is (straight-through), so that
    directions that were cut can come back. Each training step takes one step of
    subspace iteration from the last `V`; what a model computes in inference is what
    the last training step left.

    Args:
        units: Positive integer, size of the output.
        rank: Positive integer, at most `min(input_dim, units)`; `None` computes with
            the whole kernel, and equals `Dense` exactly.
        **kwargs: Every other argument of `keras.layers.Dense`, except LoRA.

    Attributes:
        kernel_rank: The rank, or `None`.
        basis: Variable `(units, rank + 8)` with orthonormal columns, of which the first
            `rank` count; `None` without a rank.

    Input shape:
        `(batch, ..., input_dim)`.

    Output shape:
        `(batch, ..., units)`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> layer = ProjectedDense(32, rank=3)
    >>> layer.build((None, 64))
    >>> int(np.linalg.matrix_rank(layer.effective_kernel()))
    3

    Reference:
        - [Bengio et al., 2013](https://arxiv.org/abs/1308.3432): straight-through.
        - [Halko et al., 2011](https://arxiv.org/abs/0909.4061), algorithm 4.4.
    """

    def sums(self, inputs, training=False):
        """What the units sum up: products with the projection, and the bias."""
        if self.basis is None:
            return super().sums(inputs, training=training)
        # A tensor, not the variable, whose gradient would go its own way.
        kernel = ops.reshape(self.kernel, self.kernel.shape)
        first = self._first(kernel, training)
        product = projection.projected_product if training else _product
        outputs = product(inputs, kernel, first)
        return outputs if self.bias is None else ops.add(outputs, self.bias)


@keras.saving.register_keras_serializable("keras_compress")
class ProjectedConv2D(Projected, Conv2DHost):
    """`Conv2D` that computes with its kernel's projection to a rank.

    As `ProjectedDense`, of the kernel as a matrix of height x width x input channels by
    filters.

    Args:
        filters: Positive integer, number of output channels.
        kernel_size: Integer or pair of integers, height and width of the window.
        rank: As in `ProjectedDense`.
        **kwargs: Every other argument of `keras.layers.Conv2D`, except LoRA.

    Attributes:
        kernel_rank: The rank, or `None`.
        basis: As in `ProjectedDense`.

    Input shape:
        As of `keras.layers.Conv2D`.

    Output shape:
        As of `keras.layers.Conv2D`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> layer = ProjectedConv2D(16, 3, rank=2)
    >>> layer.build((None, 8, 8, 4))
    >>> tuple(layer.basis.shape)
    (16, 10)

    Reference:
        - [Bengio et al., 2013](https://arxiv.org/abs/1308.3432): straight-through.
    """
