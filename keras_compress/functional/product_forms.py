"""Low-rank convolutions by outer products and clusters: every channel has its window.

| form            | steps                                     | weights                |
| --------------- | ----------------------------------------- | ---------------------- |
| `cp`            | 1 x 1 C -> K, column, row, 1 x 1 K -> F   | K (C + X + Y + F)      |
| `monochromatic` | 1 x 1 C -> K colours, a window per filter | C K + XY F             |
| `bicluster`     | K products for each of G x H pairs        | G H K (C/G + XY + F/H) |

C channels, F filters, a window of X x Y. Of a single filter the last factor of `cp` is
absorbed into the others: K (C + X + Y).
"""

import math

import numpy as np
from keras import ops

from keras_compress.functional import tensors
from keras_compress.functional.convolution_forms import Form, work_of


class Cp(Form):
    """A sum of K outer products of channels, column, row and filters."""

    @staticmethod
    def largest_rank(shape, clusters):
        return math.prod(shape) // max(shape)

    @staticmethod
    def shapes(shape, rank, clusters):
        height, width, channels, filters = shape
        found = {
            "mix_in": (channels, rank),
            "column": (height, rank),
            "row": (width, rank),
        }
        return found if filters == 1 else {**found, "mix_out": (rank, filters)}

    @staticmethod
    def decompose(kernel, rank, clusters):
        if kernel.shape[3] == 1:
            column, row, mix_in = tensors.cp(kernel[..., 0], rank)
            return {"mix_in": mix_in, "column": column, "row": row}
        column, row, mix_in, mix_out = tensors.cp(kernel, rank)
        return {"mix_in": mix_in, "column": column, "row": row, "mix_out": mix_out.T}

    @staticmethod
    def compose(mix_in, column, row, mix_out=None):
        if mix_out is None:
            mix_out = ops.ones((mix_in.shape[1], 1), mix_in.dtype)
        return ops.einsum("cr,hr,wr,rf->hwcf", mix_in, column, row, mix_out)

    @staticmethod
    def forward(inputs, geometry, mix_in, column, row, mix_out=None):
        outputs = geometry.mix(inputs, mix_in)
        if geometry.strides == (1, 1):
            outputs = geometry.each(outputs, ops.expand_dims(column, 1))
            outputs = geometry.each(outputs, ops.expand_dims(row, 0))
        else:
            # A column with a stride of its own would be computed at every pixel.
            outputs = geometry.each(outputs, ops.einsum("hr,wr->hwr", column, row))
        if mix_out is None:
            return ops.sum(outputs, axis=-1, keepdims=True)
        return geometry.mix(outputs, mix_out)

    @staticmethod
    def work(shapes, strides):
        if tuple(strides) == (1, 1):
            return work_of(shapes)
        window = shapes["row"][0]
        more = {"mix_in": strides[0] * strides[1], "column": window, "row": 0}
        return work_of(shapes, **more)


class Monochromatic(Form):
    """Channels mixed to K colours; each filter is a window on one of them."""

    @staticmethod
    def largest_rank(shape, clusters):
        return shape[3]

    @staticmethod
    def shapes(shape, rank, clusters):
        height, width, channels, filters = shape
        return {"mix_in": (channels, rank), "window": (height, width, filters)}

    @staticmethod
    def orders(shape, rank, clusters):
        return {"colours": np.arange(shape[3]) % rank}

    @staticmethod
    def decompose(kernel, rank, clusters):
        channels, filters = kernel.shape[2:]
        items = np.transpose(kernel, (3, 2, 0, 1)).reshape(filters, channels, -1)
        colours, groups = tensors.line_clusters(items, rank)
        window = np.einsum("hwcf,cf->hwf", kernel, colours[:, groups])
        return {"mix_in": colours, "window": window, "colours": groups}

    @staticmethod
    def compose(mix_in, window, colours):
        each = ops.take(mix_in, colours, axis=1)
        return ops.einsum("cf,hwf->hwcf", each, window)

    @staticmethod
    def forward(inputs, geometry, mix_in, window, colours):
        pictures = geometry.mix(inputs, mix_in)
        return geometry.each(ops.take(pictures, colours, axis=-1), window)

    @staticmethod
    def work(shapes, strides):
        return work_of(shapes, mix_in=strides[0] * strides[1])


class Bicluster(Form):
    """K outer products for each pair of a group of channels and one of filters."""

    @staticmethod
    def largest_rank(shape, clusters):
        sides = (
            shape[0] * shape[1],
            shape[2] // clusters[0],
            shape[3] // clusters[1],
        )
        return math.prod(sides) // max(sides)

    @staticmethod
    def shapes(shape, rank, clusters):
        height, width, channels, filters = shape
        groups_in, groups_out = clusters
        return {
            "mix_in": (groups_in, channels // groups_in, groups_out, rank),
            "window": (height, width, groups_in, groups_out, rank),
            "mix_out": (groups_out, groups_in, rank, filters // groups_out),
        }

    @staticmethod
    def orders(shape, rank, clusters):
        return {"channels": np.arange(shape[2]), "places": np.arange(shape[3])}

    @staticmethod
    def fans(shapes):
        height, width, groups_in, _, rank = shapes["window"]
        return {"window": height * width, "mix_out": groups_in * rank}

    @staticmethod
    def decompose(kernel, rank, clusters):
        height, width, channels, filters = kernel.shape
        shapes = Bicluster.shapes(kernel.shape, rank, clusters)
        found = {name: np.empty(size) for name, size in shapes.items()}
        rows = tensors.unfold(kernel, 2)[:, :, None]
        columns = tensors.unfold(kernel, 3)[:, :, None]
        _, of_channel = tensors.line_clusters(rows, clusters[0], equal=True)
        _, of_filter = tensors.line_clusters(columns, clusters[1], equal=True)
        order_in = np.argsort(of_channel, kind="stable")
        order_out = np.argsort(of_filter, kind="stable")
        flat = kernel[:, :, order_in][..., order_out].reshape(-1, channels, filters)
        size_in, size_out = channels // clusters[0], filters // clusters[1]
        for one in range(clusters[0]):
            for other in range(clusters[1]):
                block = flat[:, one * size_in : (one + 1) * size_in]
                block = block[:, :, other * size_out : (other + 1) * size_out]
                window, mix_in, mix_out = tensors.cp(block, rank)
                found["window"][:, :, one, other] = window.reshape(height, width, rank)
                found["mix_in"][one, :, other] = mix_in
                found["mix_out"][other, one] = mix_out.T
        return {**found, "channels": order_in, "places": np.argsort(order_out)}

    @staticmethod
    def compose(mix_in, window, mix_out, channels, places):
        kernel = ops.einsum("gchk,yxghk,hgkf->yxgchf", mix_in, window, mix_out)
        height, width, groups_in, size_in, groups_out, size_out = kernel.shape
        shape = (height, width, groups_in * size_in, groups_out * size_out)
        kernel = ops.reshape(kernel, shape)
        kernel = ops.take(kernel, ops.argsort(channels), axis=2)
        return ops.take(kernel, places, axis=3)

    @staticmethod
    def forward(inputs, geometry, mix_in, window, mix_out, channels, places):
        groups_in, size_in, groups_out, rank = mix_in.shape
        inner = (groups_in, groups_out, rank)
        outputs = _split(ops.take(inputs, channels, axis=-1), (groups_in, size_in))
        outputs = ops.einsum("nyxgc,gchk->nyxghk", outputs, mix_in)
        outputs = _joined(outputs, math.prod(inner), len(inner))
        flat = ops.reshape(window, (*window.shape[:2], -1))
        outputs = _split(geometry.each(outputs, flat), inner)
        outputs = ops.einsum("nyxghk,hgkf->nyxhf", outputs, mix_out)
        outputs = _joined(outputs, groups_out * mix_out.shape[3], 2)
        return ops.take(outputs, places, axis=-1)

    @staticmethod
    def work(shapes, strides):
        return work_of(shapes, mix_in=strides[0] * strides[1])


def _split(images, sizes):
    """The channels of images as several axes."""
    return ops.reshape(images, (*ops.shape(images)[:-1], *sizes))


def _joined(images, channels, axes):
    """The last axes of images as channels again."""
    return ops.reshape(images, (*ops.shape(images)[:-axes], channels))
