"""`swap`: a new model whose layers compute compressed, with the same weights."""

import fnmatch
import warnings

import keras
import numpy as np

from keras_compress._neighbours import Neighbours
from keras_compress._rebuild import (
    all_layers,
    carry_compile,
    check_model,
    rebuild,
    walk,
)
from keras_compress._validation import invalid
from keras_compress.layers._config import Place, SwapConfig


def swap(model, config, *, where=None, data=None):
    """A copy of a model with some of its layers swapped for compressed ones.

    The new model has the weights, layer names, shared layers, nested models and
    compile settings of the source (with an optimizer of its own), and the same outputs
    as long as the technique is off or lossless. The source is left as it is, and
    training one does not change the other.

    Layers are found in Sequential and Functional models, nested to any depth, and
    inside wrappers such as `TimeDistributed`. Swapping a layer that is compressed
    already adds the technique where the two stack.

    Args:
        model: A built Sequential or Functional model.
        config: A config such as `keras_compress.Prune()`, or a mapping from patterns
            to configs, of which the first that matches a layer is taken.
        where: Which layers to swap, of those that `config` supports: a glob such as
            `"fc*"`, a list of globs or names, or a function of a layer that says yes
            or no. Globs are held against the layer's name and its path, which is the
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
    rules = _rules(config, where)
    if data is not None and not any(one.uses_data for _, one in rules):
        raise invalid(
            "data", "None: no config here uses calibration inputs", type(data)
        )
    layers = list(walk(model))
    chosen = {}
    for wanted, one in rules:
        matches = [(p, x) for p, x in layers if one.supports(x) and wanted(p, x)]
        if not matches:
            raise _nothing_matched(model, layers, one, wanted)
        for _, layer in matches:
            chosen.setdefault(id(layer), one)
    _warn_of_unreachable(model, layers, rules)
    place = Place(
        neighbours=Neighbours(model),
        config_of=lambda layer: chosen.get(id(layer)),
        lowest=_lowest(model, data),
    )
    converters = {}
    for _, layer in layers:
        if id(layer) in chosen:
            changes = chosen[id(layer)].place(layer, place)
            converters.update((id(key), one) for key, one in changes.items())

    def replace(layer):
        one = converters.get(id(layer))
        return None if one is None else one.convert(layer)

    new = rebuild(model, replace)
    carry_compile(model, new)
    return new


def _lowest(model, data):
    """A function from an `InputLayer` to the lowest number of its calibration data."""
    if data is None:
        return lambda layer: None
    arrays = keras.tree.flatten(data)
    inputs = keras.tree.flatten(model.inputs)
    if len(arrays) != len(inputs):
        raise invalid("data", f"one array for each of {len(inputs)} inputs", type(data))
    layers = [tensor._keras_history.operation for tensor in inputs]
    lowest = {id(x): np.min(array) for x, array in zip(layers, arrays, strict=True)}
    return lambda layer: lowest.get(id(layer))


class _Wanted:
    """Whether a layer is meant by one `where`, and how to say so."""

    def __init__(self, where):
        self.where = where
        self.names = [where] if isinstance(where, str) else where

    def __call__(self, path, layer):
        if self.where is None:
            return True
        if callable(self.where):
            return bool(self.where(layer))
        return any(
            fnmatch.fnmatchcase(text, name)
            for name in self.names
            for text in (layer.name, path)
        )


def _rules(config, where):
    """Pairs of a `_Wanted` and a config."""
    if isinstance(config, dict):
        if where is not None:
            raise invalid("where", "None when `config` is a mapping", where)
        if not config:
            raise invalid("config", "a mapping with at least one pattern", config)
        pairs = list(config.items())
        for key, _ in pairs:
            if not isinstance(key, str):
                raise invalid("config", "a mapping from globs (str)", config)
    else:
        pairs = [(where, config)]
    for pattern, one in pairs:
        if not isinstance(one, SwapConfig):
            raise invalid(
                "config", "a config such as keras_compress.Prune(), or a mapping", one
            )
        _check_where(pattern)
    return [(_Wanted(pattern), one) for pattern, one in pairs]


def _check_where(where):
    names = isinstance(where, list | tuple) and all(isinstance(n, str) for n in where)
    if not (where is None or isinstance(where, str) or callable(where) or names):
        raise invalid(
            "where", "a glob, a list of globs, or a function of a layer", where
        )


def _nothing_matched(model, layers, config, wanted):
    found = "\n".join(
        f"  {path} ({type(layer).__name__})"
        + ("" if config.supports(layer) else " - not supported")
        for path, layer in layers
    )
    return ValueError(
        f"No layer of {model.name!r} that {type(config).__name__} supports matches "
        f"where={wanted.where!r}. Its layers:\n{found}"
    )


def _warn_of_unreachable(model, layers, rules):
    """Says which layers lie inside a custom layer, where a swap cannot reach."""
    reached = {id(layer) for _, layer in layers}
    missed = [
        layer.name
        for layer in all_layers(model)
        if id(layer) not in reached
        and any(
            one.supports(layer) and wanted(layer.name, layer) for wanted, one in rules
        )
    ]
    if missed:
        warnings.warn(
            f"Not swapped, because they lie inside custom layers or subclassed models: "
            f"{', '.join(missed)}. Use the layers of keras_compress.layers there.",
            stacklevel=3,
        )
