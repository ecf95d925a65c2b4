"""Low rank: layers that hold factors in place of a kernel."""

import keras
from keras import ops

from keras_compress._validation import check_int, invalid
from keras_compress.functional import convolution
from keras_compress.functional.convolution_geometry import Geometry
from keras_compress.functional.low_rank import svd_factors
from keras_compress.layers._factored import Factored


@keras.saving.register_keras_serializable("keras_compress")
class LowRankDense(Factored, keras.layers.Dense):
    """`Dense` whose kernel is a product of two factors.

    Computes `activation(inputs @ left @ right + bias)`: `rank (input_dim + units)`
    weights and multiply-adds in place of `input_dim * units`. A new layer starts from
    random factors; `keras_compress.swap` with `LowRank` makes one of a trained `Dense`,
    and `.factorize` of any kernel.

    Args:
        units: Positive integer, size of the output.
        rank: Positive integer, at most `min(input_dim, units)`.
        **kwargs: Every other argument of `keras.layers.Dense`, except LoRA.
            `kernel_initializer` draws the left factor, and the right one is drawn so
            that the variance stays; `kernel_regularizer` and `kernel_constraint` are
            applied to each factor.

    Attributes:
        kernel_rank: The rank.
        left: Variable `(input_dim, rank)`.
        right: Variable `(rank, units)`.

    Input shape:
        `(batch, ..., input_dim)`.

    Output shape:
        `(batch, ..., units)`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> layer = LowRankDense(100, rank=5)
    >>> layer.build((None, 200))
    >>> layer.count_params()
    1600

    Reference:
        - [Denton et al., 2014](https://arxiv.org/abs/1404.0736)
    """

    def __init__(self, units, rank, **kwargs):
        self.kernel_rank = check_int("rank", rank, minimum=1)
        super().__init__(units, **kwargs)

    def build(self, input_shape):
        inputs = input_shape[-1]
        check_int("rank", self.kernel_rank, minimum=1, maximum=min(inputs, self.units))
        shapes = {
            "left": (inputs, self.kernel_rank),
            "right": (self.kernel_rank, self.units),
        }
        self.add_factors(shapes, fans={"right": self.kernel_rank})
        self.add_bias(self.units)
        self.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: inputs})
        self.built = True

    def sums(self, inputs, training=False):
        """What the units sum up: the two products, and the bias."""
        outputs = ops.matmul(ops.matmul(inputs, self.left), self.right)
        return outputs if self.bias is None else ops.add(outputs, self.bias)

    def effective_kernel(self, training=False):
        """The product of the factors, `(input_dim, units)`."""
        self.check_built()
        return ops.matmul(self.left, self.right)

    def factorize(self, kernel):
        """Sets the factors to the nearest product to `kernel`, of balanced norms.

        Args:
            kernel: Array of `(input_dim, units)`, finite.

        Raises:
            ValueError: If the layer is not built, or `kernel` does not fit.
        """
        self.check_built()
        shape = (self.left.shape[0], self.units)
        kernel = ops.convert_to_numpy(kernel)
        if kernel.shape != shape:
            raise invalid("kernel", f"of shape {shape}", kernel.shape)
        left, right = svd_factors(kernel, self.kernel_rank)
        self.left.assign(left)
        self.right.assign(right)


@keras.saving.register_keras_serializable("keras_compress")
class LowRankConv2D(Factored, keras.layers.Conv2D):
    """`Conv2D` whose kernel is a product of small factors, convolved with in turn.

    With C channels, F filters and a window of X x Y:

    | `method`          | steps                               | weights                |
    | ----------------- | ----------------------------------- | ---------------------- |
    | `"svd"`           | window to K, 1 x 1 to F             | K (XY C + F)           |
    | `"channel_svd"`   | 1 x 1 to K, window to F             | K (C + XY F)           |
    | `"spatial"`       | column to K, row to F               | K (X C + Y F)          |
    | `"tucker"`        | 1 x 1 to K, window to L, 1 x 1 to F | C K + XY K L + L F     |
    | `"cp"`            | 1 x 1 to K, column, row, 1 x 1 to F | K (C + X + Y + F)      |
    | `"monochromatic"` | 1 x 1 to K, one window a filter     | C K + XY F             |
    | `"bicluster"`     | `"cp"` for G x H pairs of groups    | G H K (C/G + XY + F/H) |

    Args:
        filters: Positive integer, number of output channels.
        kernel_size: Integer or pair of integers, height and width of the window.
        rank: Positive integer K; for `"tucker"` also a pair (K, L).
        method: How the kernel is factorised, as in the table.
        clusters: Pair of integers (G, H), for `"bicluster"`: groups of channels and of
            filters, of equal sizes.
        **kwargs: Every other argument of `keras.layers.Conv2D`, except LoRA, and
            `groups` above 1. Initializer, regularizer and constraint of the kernel are
            applied as in `LowRankDense`.

    Attributes:
        kernel_rank: The rank. (Keras's convolutions call their number of axes `rank`.)
        factors: Mapping from names to the trained variables.

    Input shape:
        As of `keras.layers.Conv2D`.

    Output shape:
        As of `keras.layers.Conv2D`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> layer = LowRankConv2D(64, 3, rank=8, method="spatial", use_bias=False)
    >>> layer.build((None, 28, 28, 32))
    >>> layer.count_params(), 3 * 3 * 32 * 64
    (2304, 18432)

    Reference:
        - [Denton et al., 2014](https://arxiv.org/abs/1404.0736): `"monochromatic"`,
          `"bicluster"`.
        - [Jaderberg et al., 2014](https://arxiv.org/abs/1405.3866): `"spatial"`, in
          closed form by [Tai et al., 2016](https://arxiv.org/abs/1511.06067).
        - [Lebedev et al., 2015](https://arxiv.org/abs/1412.6553): `"cp"`.
        - [Kim et al., 2016](https://arxiv.org/abs/1511.06530): `"tucker"`.
        - [Zhang et al., 2016](https://arxiv.org/abs/1505.06798): `"svd"`.
    """

    def __init__(
        self, filters, kernel_size, rank, *, method="svd", clusters=(2, 2), **kwargs
    ):
        self.method = convolution.check_method(method)
        self.clusters = convolution.check_clusters(clusters)
        self.kernel_rank = convolution.check_rank(self.method, rank)
        if kwargs.get("groups", 1) != 1:
            raise invalid("groups", "1 in a low-rank convolution", kwargs["groups"])
        super().__init__(filters, kernel_size, **kwargs)

    def build(self, input_shape):
        axis = -1 if self.data_format == "channels_last" else 1
        channels = input_shape[axis]
        self.kernel_shape = (*self.kernel_size, channels, self.filters)
        rank = convolution.check_rank(
            self.method, self.kernel_rank, self.kernel_shape, self.clusters
        )
        form = convolution.FORMS[self.method]
        shapes = form.shapes(self.kernel_shape, rank, self.clusters)
        self.add_factors(shapes, form.fans(shapes))
        self.order_names = []
        orders = form.orders(self.kernel_shape, rank, self.clusters)
        for name, order in orders.items():
            variable = self.add_weight(
                name=name,
                shape=order.shape,
                dtype="int32",
                initializer=keras.initializers.Constant(order),
                trainable=False,
                aggregation="only_first_replica",
            )
            setattr(self, name, variable)
            self.order_names.append(name)
        self.add_bias(self.filters)
        self.input_spec = keras.layers.InputSpec(
            min_ndim=4, max_ndim=4, axes={axis: channels}
        )
        self.built = True

    def sums(self, inputs, training=False):
        """What the filters sum up: all steps, and the bias."""
        first = self.data_format == "channels_first"
        if first:
            inputs = ops.transpose(inputs, (0, 2, 3, 1))
        geometry = Geometry(self.strides, self.padding, self.dilation_rate)
        outputs = convolution.FORMS[self.method].forward(
            inputs, geometry, **self._arrays()
        )
        if self.bias is not None:
            outputs = ops.add(outputs, self.bias)
        return ops.transpose(outputs, (0, 3, 1, 2)) if first else outputs

    def effective_kernel(self, training=False):
        """The product of the factors, `(height, width, channels, filters)`."""
        self.check_built()
        return convolution.FORMS[self.method].compose(**self._arrays())

    def factorize(self, kernel):
        """Sets the factors to those that the method finds for `kernel`.

        Args:
            kernel: Array of `(height, width, channels, filters)`, finite.

        Raises:
            ValueError: If the layer is not built, or `kernel` does not fit.
        """
        self.check_built()
        kernel = ops.convert_to_numpy(kernel)
        if kernel.shape != self.kernel_shape:
            raise invalid("kernel", f"of shape {self.kernel_shape}", kernel.shape)
        found = convolution.decompose(
            self.method, kernel, self.kernel_rank, self.clusters
        )
        for name, value in found.items():
            getattr(self, name).assign(value)

    def get_config(self):
        own = {"method": self.method, "clusters": self.clusters}
        return {**super().get_config(), **own}

    def _arrays(self):
        """The factors as the form takes them, cast as the policy wants it."""
        names = (*self.factor_names, *self.order_names)
        return {name: ops.convert_to_tensor(getattr(self, name)) for name in names}
