"""`swap`: a new model whose layers compute compressed, with the same weights."""

import warnings

import keras
import numpy as np

from keras_compress._activations import check_data
from keras_compress._copies import all_layers, carry_compile
from keras_compress._matching import is_wanted, matching, rules_of
from keras_compress._neighbours import Neighbours
from keras_compress._rebuild import check_model, rebuild, walk
from keras_compress._unfold import unfold
from keras_compress._validation import invalid
from keras_compress._whitening import whiten
from keras_compress.layers._config import Kept, Place
from keras_compress.layers._hosts import KernelHost
from keras_compress.layers._low_rank_swap import LowRank


def swap(model, config, *, where=None, data=None):
    """A copy of a model with some of its layers swapped for compressed ones.

    The new model has the weights, layer names, shared layers, nested models and
    compile settings of the source (with an optimizer of its own), and the same outputs
    as long as the technique is off or lossless. The source is left as it is, and
    training one does not change the other.

    Layers are found in Sequential and Functional models, nested to any depth, and
    inside wrappers such as `TimeDistributed`. Swapping a layer that is compressed
    already adds the technique where the two stack: the factors of a low-rank layer
    become plain layers, in a model of its name, for whatever technique comes next.

    Args:
        model: A built Sequential or Functional model.
        config: A config such as `keras_compress.Prune()`, or a mapping from patterns
            to configs, of which the first that matches a layer is taken, or the one
            that is its whole path.
        where: Which layers to swap, of those that `config` supports: a glob such as
            `"fc*"`, a list of globs or names, or a function of a layer that says yes
            or no. Every glob must match a layer: its name, or its path, which is the
            names of the models around it and its own, joined by slashes. Defaults to
            all.
        data: Calibration inputs, one array for each input of the model, for configs
            that use them.

    Returns:
        The new model.

    Raises:
        ValueError: If nothing matches, the model cannot be rebuilt, or an argument is
            of the wrong kind.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="fc")])
    >>> small = swap(model, keras_compress.Prune(), where="fc*")
    >>> type(small.get_layer("fc")).__name__
    'PrunedDense'
    """
    check_model("model", model)
    rules = rules_of(config, where)
    if data is not None and not any(one.uses_data for _, one in rules):
        raise invalid(
            "data", "None: no config here uses calibration inputs", type(data)
        )
    source = model
    model, matches = unfolded_matches(model, config, where)
    _warn_of_unreachable(model, rules)
    chosen = {id(layer): one for _, layer, one in matches}
    place = Place(
        neighbours=Neighbours(model),
        config_of=lambda layer: chosen.get(id(layer)),
        lowest=_lowest(model, data),
    )
    converters = {}
    for _, layer, one in matches:
        changes = one.place(layer, place)
        converters.update((id(key), other) for key, other in changes.items())
    converters.update(_fitted(model, matches, data))
    kept, wrappers = {}, _spectral_wrappers(model)

    def replace(layer):
        one = converters.get(id(layer))
        if one is None:
            return None
        if id(layer) in wrappers and not one.keeps_kernel:
            found = Kept(f"{wrappers[id(layer)]!r} around it sets its kernel")
        else:
            found = one.convert(layer)
        if isinstance(found, Kept):
            kept[id(layer)] = found.reason
            return None
        return found

    new = rebuild(model, replace)
    _say_what_was_kept(model, new, kept)
    _warn_of_biases([layer for _, layer, _ in matches if id(layer) not in kept])
    carry_compile(source, new)
    return new


def unfolded_matches(model, config, where=None):
    """A model in which factors are layers where they are meant, and its matches.

    Args:
        model: As of `swap`.
        config: As of `swap`.
        where: As of `swap`.

    Returns:
        The model, or a copy with the same names, and what `matching` finds in it.
    """
    model, unfolded = unfold(model, _wants_factors(rules_of(config, where)))
    return model, matching(model, config, where, unfolded)


def _wants_factors(rules):
    """Whether a rule means the factors of a layer, by path, layer and its factors."""

    def wants(path, layer, factors):
        for wanted, one in rules:
            if is_wanted(path, layer, wanted):
                return not one.supports(layer) and all(map(one.supports, factors))
        return False

    return wants


def _fitted(model, matches, data):
    """By the ids of layers, the configs of those whose factors are fitted to data."""
    chosen = [
        (layer, one)
        for _, layer, one in matches
        if isinstance(one, LowRank) and one.uses_data
    ]
    return whiten(model, chosen, data) if chosen else {}


def _spectral_wrappers(model):
    """The names of wrappers that set kernels, by the ids of the layers inside them."""
    return {
        id(layer.layer): layer.name
        for layer in all_layers(model)
        if isinstance(layer, keras.layers.SpectralNormalization)
    }


def _say_what_was_kept(model, new, kept):
    """Warns of layers that stay as they were, and marks their copies for `report`."""
    lines = []
    for (path, layer), (_, copy) in zip(walk(model), walk(new), strict=False):
        if id(layer) in kept:
            copy.left_as_it_was = kept[id(layer)]
            lines.append(f"  {path}: {kept[id(layer)]}")
    if lines:
        warnings.warn("Left as they were:\n" + "\n".join(lines), stacklevel=3)


def _lowest(model, data):
    """A function from an `InputLayer` to the lowest number of its calibration data."""
    if data is None:
        return lambda layer: None
    arrays = check_data("data", model, data)
    inputs = keras.tree.flatten(model.inputs)
    layers = [tensor._keras_history.operation for tensor in inputs]
    lowest = {id(x): np.min(array) for x, array in zip(layers, arrays, strict=True)}
    return lambda layer: lowest.get(id(layer))


def _warn_of_biases(layers):
    """Says which layers of Keras add a bias to the wrong axis, as their copies do not.

    In Keras 3.15 a convolution with channels first adds its bias along the width if
    this is as large as the number of channels.
    """
    wrong = [
        layer.name
        for layer in layers
        if not isinstance(layer, KernelHost)
        and getattr(layer, "data_format", None) == "channels_first"
        and layer.use_bias
        and any(
            tensor.shape[1] == tensor.shape[-1]
            for node in layer._inbound_nodes
            for tensor in node.output_tensors
        )
    ]
    sums = keras.ops.add(np.zeros((1, 2, 1, 2)), np.reshape([1.0, 2.0], (1, 2, 1, 1)))
    if wrong and np.any(sums[0, 0] != 1.0):
        warnings.warn(
            f"Keras adds the biases of {', '.join(wrong)} along the width of the "
            "image, which is as large as the number of channels; the new layers add "
            "them to the channels, so that outputs differ.",
            stacklevel=3,
        )


def _warn_of_unreachable(model, rules):
    """Says which layers lie inside a custom layer, where a swap cannot reach."""
    reached = {id(layer) for _, layer in walk(model)}
    missed = [
        layer.name
        for layer in all_layers(model)
        if id(layer) not in reached
        and any(
            one.supports(layer) and is_wanted(layer.name, layer, wanted)
            for wanted, one in rules
        )
    ]
    if missed:
        warnings.warn(
            f"Not swapped, because they lie inside custom layers or subclassed models: "
            f"{', '.join(missed)}. Use the layers of keras_compress.layers there.",
            stacklevel=3,
        )
