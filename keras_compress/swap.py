"""`swap`: a new model whose layers compute compressed, with the same weights."""

import fnmatch
import warnings

import keras
import numpy as np

from keras_compress._activations import check_data
from keras_compress._copies import all_layers, carry_compile
from keras_compress._neighbours import Neighbours
from keras_compress._rebuild import check_model, rebuild, walk
from keras_compress._unfold import unfold
from keras_compress._validation import invalid
from keras_compress._whitening import whiten
from keras_compress.layers._config import Kept, Place, SwapConfig
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
    rules = _rules(config, where)
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
    kept = {}

    def replace(layer):
        one = converters.get(id(layer))
        found = None if one is None else one.convert(layer)
        if isinstance(found, Kept):
            kept[id(layer)] = found.reason
            return None
        return found

    new = rebuild(model, replace)
    _say_what_was_kept(model, new, kept)
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
    model, unfolded = unfold(model, _wants_factors(_rules(config, where)))
    return model, matching(model, config, where, unfolded)


def _wants_factors(rules):
    """Whether a rule means the factors of a layer, by path, layer and its factors."""

    def is_wanted(path, layer, factors):
        for wanted, one in rules:
            if _is_wanted(path, layer, wanted):
                return not one.supports(layer) and all(map(one.supports, factors))
        return False

    return is_wanted


def _fitted(model, matches, data):
    """By the ids of layers, the configs of those whose factors are fitted to data."""
    chosen = [
        (layer, one)
        for _, layer, one in matches
        if isinstance(one, LowRank) and one.uses_data
    ]
    return whiten(model, chosen, data) if chosen else {}


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


def matching(model, config, where=None, unfolded=None):
    """The layers that `swap` would swap with these arguments.

    Args:
        model: A built Sequential or Functional model.
        config: As of `swap`.
        where: As of `swap`.
        unfolded: Mapping from the ids of layers to the path and the layer that they
            stand for, by which they are found, too.

    Returns:
        List of tuples: the layer's path, the layer, and its config.

    Raises:
        ValueError: As of `swap`.
    """
    layers = list(walk(model))
    rules = _rules(config, where)
    # What names one path means that layer, whatever globs and names come before.
    paths = {path for path, _ in layers} & {wanted for wanted, _ in rules}
    chosen = {}
    for wanted, one in rules:
        matches = [
            (path, layer)
            for path, layer in layers
            if one.supports(layer)
            and (path == wanted or path not in paths)
            and (
                _is_wanted(path, layer, wanted)
                or _is_wanted(*(unfolded or {}).get(id(layer), ("", None)), wanted)
            )
        ]
        if not matches:
            raise _nothing_matched(model, layers, one, wanted)
        new = [match for match in matches if id(match[1]) not in chosen]
        if not new and isinstance(config, dict):
            raise ValueError(
                f"`config` must give every pattern a layer of its own. Received: all "
                f"that {wanted!r} matches is taken by patterns before it."
            )
        chosen.update({id(layer): (path, layer, one) for path, layer in new})
    return list(chosen.values())


def _is_wanted(path, layer, wanted):
    """Whether a layer is meant by a glob, a function, or `None` for all."""
    if wanted is None:
        return True
    if layer is None:
        return False
    if callable(wanted):
        return bool(wanted(layer))
    return any(fnmatch.fnmatchcase(text, wanted) for text in (layer.name, path))


def _rules(config, where):
    """Pairs of a glob, function or `None`, and the config of what it matches."""
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
        _check_where(where)
        # Of several names every one must match.
        names = where if isinstance(where, list | tuple | set) else [where]
        pairs = [(name, config) for name in names]
    for _, one in pairs:
        if not isinstance(one, SwapConfig):
            raise invalid(
                "config", "a config such as keras_compress.Prune(), or a mapping", one
            )
    return pairs


def _check_where(where):
    if isinstance(where, list | tuple | set):
        fits = len(where) > 0 and all(isinstance(name, str) for name in where)
    else:
        fits = where is None or isinstance(where, str) or callable(where)
    if not fits or isinstance(where, keras.layers.Layer):
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
        f"{'`where`' if wanted is None else repr(wanted)}. Its layers:\n{found}"
    )


def _warn_of_unreachable(model, rules):
    """Says which layers lie inside a custom layer, where a swap cannot reach."""
    reached = {id(layer) for _, layer in walk(model)}
    missed = [
        layer.name
        for layer in all_layers(model)
        if id(layer) not in reached
        and any(
            one.supports(layer) and _is_wanted(layer.name, layer, wanted)
            for wanted, one in rules
        )
    ]
    if missed:
        warnings.warn(
            f"Not swapped, because they lie inside custom layers or subclassed models: "
            f"{', '.join(missed)}. Use the layers of keras_compress.layers there.",
            stacklevel=3,
        )
