"""Low-rank convolutions by an SVD or by Tucker's decomposition: two or three steps.

A form says which factors there are, of which shapes, how a kernel of `(height, width,
channels, filters)` becomes them and comes back from them, and how they convolve.

| form          | steps                                         | weights              |
| ------------- | --------------------------------------------- | -------------------- |
| `svd`         | window C -> K, 1 x 1 K -> F                   | K (XY C + F)         |
| `channel_svd` | 1 x 1 C -> K, window K -> F                   | K (C + XY F)         |
| `spatial`     | column C -> K, row K -> F                     | K (X C + Y F)        |
| `tucker`      | 1 x 1 C -> K, window K -> L, 1 x 1 L -> F     | C K + XY K L + L F   |

C channels, F filters, a window of X x Y.
"""

import math

import numpy as np
from keras import ops

from keras_compress.functional import tensors
from keras_compress.functional.low_rank import svd_factors


def work_of(shapes, **more):
    """Multiply-adds an output pixel: each weight once, some of them more often."""
    return {
        name: math.prod(shape) * more.get(name, 1) for name, shape in shapes.items()
    }


class Form:
    """One form. All methods are static: a form has no state."""

    @staticmethod
    def orders(shape, rank, clusters):
        """Initial values of the integer factors, by name."""
        return {}

    @staticmethod
    def fans(shapes):
        """How many numbers an output of each factor is a sum of."""
        return {name: math.prod(shape[:-1]) for name, shape in shapes.items()}


class Svd(Form):
    """A window to K channels, mixed to all filters."""

    @staticmethod
    def as_matrix(kernel):
        return kernel.reshape(-1, kernel.shape[3])

    @staticmethod
    def largest_rank(shape, clusters):
        return min(math.prod(shape[:3]), shape[3])

    @staticmethod
    def shapes(shape, rank, clusters):
        return {"window": (*shape[:3], rank), "mix_out": (rank, shape[3])}

    @staticmethod
    def decompose(kernel, rank, clusters):
        left, right = svd_factors(Svd.as_matrix(kernel), rank)
        return {"window": left.reshape(*kernel.shape[:3], rank), "mix_out": right}

    @staticmethod
    def compose(window, mix_out):
        return ops.einsum("hwck,kf->hwcf", window, mix_out)

    @staticmethod
    def forward(inputs, geometry, window, mix_out):
        return geometry.mix(geometry.window(inputs, window), mix_out)

    @staticmethod
    def work(shapes, strides):
        return work_of(shapes)


class ChannelSvd(Form):
    """Channels mixed to K, then a window to all filters."""

    @staticmethod
    def as_matrix(kernel):
        return tensors.unfold(kernel, 2)

    @staticmethod
    def largest_rank(shape, clusters):
        return min(shape[2], shape[0] * shape[1] * shape[3])

    @staticmethod
    def shapes(shape, rank, clusters):
        height, width, channels, filters = shape
        return {"mix_in": (channels, rank), "window": (height, width, rank, filters)}

    @staticmethod
    def decompose(kernel, rank, clusters):
        height, width, _, filters = kernel.shape
        left, right = svd_factors(ChannelSvd.as_matrix(kernel), rank)
        window = np.moveaxis(right.reshape(rank, height, width, filters), 0, 2)
        return {"mix_in": left, "window": window}

    @staticmethod
    def compose(mix_in, window):
        return ops.einsum("ck,hwkf->hwcf", mix_in, window)

    @staticmethod
    def forward(inputs, geometry, mix_in, window):
        return geometry.window(geometry.mix(inputs, mix_in), window)

    @staticmethod
    def work(shapes, strides):
        return work_of(shapes, mix_in=strides[0] * strides[1])


class Spatial(Form):
    """A column to K channels, then a row to all filters."""

    @staticmethod
    def as_matrix(kernel):
        height, width, channels, filters = kernel.shape
        return np.transpose(kernel, (0, 2, 1, 3)).reshape(
            height * channels, width * filters
        )

    @staticmethod
    def largest_rank(shape, clusters):
        return min(shape[0] * shape[2], shape[1] * shape[3])

    @staticmethod
    def shapes(shape, rank, clusters):
        height, width, channels, filters = shape
        return {
            "column": (height, 1, channels, rank),
            "row": (1, width, rank, filters),
        }

    @staticmethod
    def decompose(kernel, rank, clusters):
        height, width, channels, filters = kernel.shape
        left, right = svd_factors(Spatial.as_matrix(kernel), rank)
        row = np.moveaxis(right.reshape(rank, width, filters), 0, 1)
        return {"column": left.reshape(height, 1, channels, rank), "row": row[None]}

    @staticmethod
    def compose(column, row):
        return ops.einsum("hick,jwkf->hwcf", column, row)

    @staticmethod
    def forward(inputs, geometry, column, row):
        return geometry.row(geometry.column(inputs, column), row)

    @staticmethod
    def work(shapes, strides):
        return work_of(shapes, column=strides[1])


class Tucker(Form):
    """Channels mixed to K1, a window to K2, mixed to all filters."""

    @staticmethod
    def largest_rank(shape, clusters):
        return shape[2], shape[3]

    @staticmethod
    def shapes(shape, rank, clusters):
        height, width, channels, filters = shape
        return {
            "mix_in": (channels, rank[0]),
            "window": (height, width, *rank),
            "mix_out": (rank[1], filters),
        }

    @staticmethod
    def decompose(kernel, rank, clusters):
        found = tensors.tucker2(kernel, rank)
        size = np.linalg.norm(found[1]) ** (1.0 / 3.0) or 1.0
        # Three factors of comparable scale, where two were orthonormal.
        scales = (size / math.sqrt(rank[0]), size / math.sqrt(rank[1]))
        return {
            "mix_in": found[0] * scales[0],
            "window": found[1] / (scales[0] * scales[1]),
            "mix_out": found[2] * scales[1],
        }

    @staticmethod
    def compose(mix_in, window, mix_out):
        return ops.einsum("cr,hwrs,sf->hwcf", mix_in, window, mix_out)

    @staticmethod
    def forward(inputs, geometry, mix_in, window, mix_out):
        inner = geometry.window(geometry.mix(inputs, mix_in), window)
        return geometry.mix(inner, mix_out)

    @staticmethod
    def work(shapes, strides):
        return work_of(shapes, mix_in=strides[0] * strides[1])
