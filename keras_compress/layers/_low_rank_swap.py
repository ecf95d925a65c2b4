"""`LowRank`: the swap config that puts factors in the place of kernels."""

import dataclasses
from typing import ClassVar

import keras

from keras_compress._validation import check_choice, invalid
from keras_compress.functional import convolution, ranks
from keras_compress.functional.low_rank import singular_values
from keras_compress.layers._config import (
    Kept,
    SwapConfig,
    arguments_of,
    copy_variables,
    swapping,
)
from keras_compress.layers._fitted import copy_bias, kernel_of
from keras_compress.layers.low_rank import LowRankConv2D, LowRankDense
from keras_compress.layers.projected import ProjectedConv2D, ProjectedDense

MATRIX_METHODS = ("svd", "whitened_svd")
METHODS = (*MATRIX_METHODS, *(name for name in convolution.FORMS if name != "svd"))
TRAININGS = ("factors", "projected")


@keras.saving.register_keras_serializable("keras_compress")
@dataclasses.dataclass(frozen=True)
class LowRank(SwapConfig):
    """Swaps `Dense` and `Conv2D` for layers of factors, made of the trained kernels.

    Exactly one of `rank`, `energy`, `params` and `max_error` says how far to go. A
    layer whose factors would have as many weights as its kernel, or more, or need as
    many multiply-adds, stays as it is: `swap` warns, and `report` says so.

    Args:
        rank: Integer >= 1; for `"tucker"` also a pair, of channels and of filters. Of
            `"monochromatic"` the number of colours, of `"bicluster"` the outer products
            in each pair of groups.
        energy: Number in (0, 1]: the least rank that keeps this share of the sum of
            squares, of the weights; with `"whitened_svd"`, of the outputs.
        params: What the factors' weights may number at most: an integer >= 1, or a
            share in (0, 1) of the kernel's, with the largest rank that fits.
        max_error: Number in `[0, 1)`: the least rank whose relative error in the
            Frobenius norm is not above it; of the weights, or of the outputs.
        force: Whether to swap layers that do not become cheaper, too.
        method: `"svd"`, the nearest kernel of a rank, or `"whitened_svd"`, that which
            changes the layer's outputs least on the calibration inputs that `swap` gets
            as `data`, layer by layer, on what the layers before it still let through
            (the bias takes what the mean loses). Both are for `Dense` and `Conv2D`. For
            `Conv2D` alone `"channel_svd"`, `"spatial"`, `"tucker"`, `"cp"`,
            `"monochromatic"` and `"bicluster"`, as in `LowRankConv2D`.
        training: `"factors"`, which are then trained themselves, or `"projected"`: the
            whole kernel stays, as a ghost that is trained, and the layer computes with
            the nearest kernel of the rank, as in `ProjectedDense`; by `"svd"` only.
        clusters: Pair of integers, for `"bicluster"`, as in `LowRankConv2D`.

    Raises:
        ValueError: If an argument is out of range or does not go with another; in
            `swap`, if a kernel is not finite, or there is no `data` to whiten by.

    Example:

    >>> model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64)])
    >>> small = keras_compress.swap(model, LowRank(rank=4))
    >>> small.count_params(), model.count_params()
    (576, 4160)

    Reference:
        - [Denton et al., 2014](https://arxiv.org/abs/1404.0736)
        - [Zhang et al., 2016](https://arxiv.org/abs/1505.06798)
    """

    rank: int | tuple | None = None
    energy: float | None = None
    params: int | float | None = None
    max_error: float | None = None
    force: bool = False
    method: str = "svd"
    training: str = "factors"
    clusters: tuple = (2, 2)

    layers: ClassVar[dict] = {
        keras.layers.Dense: LowRankDense,
        keras.layers.Conv2D: LowRankConv2D,
        LowRankDense: LowRankDense,
        LowRankConv2D: LowRankConv2D,
        ProjectedDense: LowRankDense,
        ProjectedConv2D: LowRankConv2D,
    }
    projected: ClassVar[dict] = {
        LowRankDense: ProjectedDense,
        LowRankConv2D: ProjectedConv2D,
    }

    def __post_init__(self):
        check_choice("method", self.method, METHODS)
        check_choice("training", self.training, TRAININGS)
        check_choice("force", self.force, (True, False))
        set_field = object.__setattr__
        set_field(self, "clusters", convolution.check_clusters(self.clusters))
        if self.training == "projected" and self.method != "svd":
            raise invalid("method", "'svd' with training='projected'", self.method)
        amounts = ("rank", "energy", "params", "max_error")
        given = {name: getattr(self, name) for name in amounts}
        given = {name: value for name, value in given.items() if value is not None}
        if len(given) != 1:
            raise ValueError(
                "`LowRank` takes exactly one of `rank`, `energy`, `params` and "
                f"`max_error`. Received: {given or 'none of them'}"
            )
        if self.rank is not None:
            set_field(self, "rank", convolution.check_rank(self.method, self.rank))
        if self.energy is not None:
            ranks.check_energy(self.energy)
        if self.params is not None:
            ranks.check_params(self.params)
        if self.max_error is not None:
            ranks.check_max_error(self.max_error)

    @property
    def uses_data(self):
        """Whether `swap` must be given calibration inputs."""
        return self.method == "whitened_svd"

    def supports(self, layer):
        if not super().supports(layer):
            return False
        if isinstance(layer, keras.layers.Conv2D):
            return layer.groups == 1
        return self.method in MATRIX_METHODS

    def convert(self, layer):
        kernel = kernel_of(layer)
        rank = self.rank_of(layer, kernel)
        kept = self.does_not_pay(layer, rank)
        if kept is not None:
            return kept
        new = self.new_layer(layer, rank)
        if type(new) is type(layer) and _same_factors(new, layer):
            return new, lambda: copy_variables(layer, new)

        def fill():
            copy_bias(layer, new)
            new.factorize(kernel)

        return new, fill

    def rank_of(self, layer, kernel):
        """The rank for a layer with this kernel, `None` where none is enough."""
        if isinstance(layer, keras.layers.Conv2D):
            return self._convolution_rank(kernel)
        return self.matrix_rank(kernel.shape, lambda: singular_values(kernel))

    def matrix_rank(self, shape, spectrum):
        """The rank for a matrix of this shape.

        Args:
            shape: Pair of integers.
            spectrum: Function of no arguments, to the singular values.
        """
        if self.rank is not None:
            return self.rank
        if self.params is not None:
            params = ranks.check_params(self.params)
            if isinstance(params, float):
                params = int(params * shape[0] * shape[1])
            return min(max(1, params // sum(shape)), *shape)
        if self.energy is not None:
            return ranks.energy_rank(spectrum(), self.energy)
        return ranks.error_rank(spectrum(), self.max_error)

    @property
    def form(self):
        """The form of a convolution that the method leads to."""
        return "svd" if self.method == "whitened_svd" else self.method

    def new_layer(self, layer, rank):
        """An unbuilt layer of this rank with the arguments of `layer`."""
        new_class = self.layers[type(layer)]
        if self.training == "projected":
            new_class = self.projected[new_class]
        own = {"method": self.form, "clusters": self.clusters}
        with swapping(layer, new_class):
            arguments = {
                name: value
                for name, value in arguments_of(layer).items()
                if name not in own
            }
            if new_class is LowRankConv2D:
                arguments |= own
            return new_class(**arguments | {"rank": rank})

    @property
    def keeps_kernel(self):
        return self.training == "projected"

    def does_not_pay(self, layer, rank):
        """A `Kept` where `layer` is not to be swapped, or `None`."""
        kernel = kernel_of(layer)
        shape = kernel.shape
        if rank is None:
            return Kept(f"no {self.method!r} cheaper than the kernel is near enough")
        if isinstance(layer, keras.layers.Conv2D):
            args = (self.form, shape, rank)
            pays = convolution.pays(*args, layer.strides, self.clusters)
            weights = convolution.weights(*args, self.clusters)
            work = convolution.multiply_adds(*args, layer.strides, self.clusters)
            cost = f"{weights:,} weights and {work:,} multiply-adds a pixel"
        else:
            _check_dense_rank(layer, rank, shape)
            pays = rank <= ranks.largest_rank_below(*shape)
            cost = f"{rank * sum(shape):,} weights"
        if pays or self.force:
            return None
        return Kept(
            f"at rank {rank} the factors would have {cost}, the kernel has "
            f"{kernel.size:,}"
        )

    def _convolution_rank(self, kernel):
        args = (self.form, kernel.shape)
        if self.rank is not None:
            return self.rank
        if self.params is not None:
            return convolution.rank_within(*args, self.params, self.clusters)
        error = self.max_error
        if error is None:
            error = max(0.0, 1.0 - self.energy) ** 0.5
        return convolution.rank_with_error(self.form, kernel, error, self.clusters)


def _same_factors(new, old):
    names = ("kernel_rank", "method", "clusters")
    return all(getattr(new, x, None) == getattr(old, x, None) for x in names)


def _check_dense_rank(layer, rank, shape):
    if not isinstance(rank, int) or rank > min(shape):
        raise invalid(
            "rank", f"an integer in [1, {min(shape)}] for layer {layer.name!r}", rank
        )
