"""The pruned layers of a network, by their paths and by globs."""

import fnmatch

from keras_compress._copies import all_layers
from keras_compress._rebuild import walk
from keras_compress._validation import invalid
from keras_compress.layers.pruned import is_pruned, prune_together


def check_globs(name, globs):
    """A glob or a list of them as a tuple, empty for `None`."""
    if globs is None:
        return ()
    globs = [globs] if isinstance(globs, str) else globs
    if not isinstance(globs, list | tuple) or not all(
        isinstance(glob, str) for glob in globs
    ):
        raise invalid(name, "None, a glob or a list of globs", globs)
    return tuple(globs)


def matching(name, paths, pattern):
    """The paths that a glob means, by the layer's name or all of its path.

    Args:
        name: The argument that the glob came by, for the error.
        paths: Sequence of paths of the pruned layers.
        pattern: The glob.

    Raises:
        ValueError: If it means none of them.
    """
    found = [
        path
        for path in paths
        if fnmatch.fnmatchcase(path, pattern)
        or fnmatch.fnmatchcase(path.rpartition("/")[2], pattern)
    ]
    if not found:
        raise invalid(name, f"of pruned layers, here {', '.join(paths)}", pattern)
    return found


def pruned_layers(network):
    """Mapping from paths to the pruned layers of a network.

    Inside a custom layer there are no paths: there, a name that is taken gets a `'`.
    """
    paths = {id(layer): path for path, layer in walk(network)}
    layers = {}
    for layer in all_layers(network):
        if is_pruned(layer):
            path = paths.get(id(layer), layer.name)
            while path in layers:
                path += "'"
            layers[path] = layer
    return layers


def layers_of(network, exclude):
    """Mapping from paths to the pruned layers of a network, but for some.

    Args:
        network: A Keras model.
        exclude: Sequence of globs.

    Raises:
        ValueError: If there are none, or a glob matches none.
    """
    layers = pruned_layers(network)
    if not layers:
        raise ValueError(
            f"IterativePruning found no pruned layers in {network.name!r}. "
            "Swap some first: keras_compress.swap(model, keras_compress.Prune())"
        )
    for pattern in exclude:
        for path in matching("exclude", list(layers), pattern):
            layers.pop(path)
        if not layers:
            raise invalid("exclude", "some, not all pruned layers", exclude)
    return layers


def prune_further(layer, sparsity, splice, scores):
    """Prunes a layer to so sparse; what is pruned stays pruned.

    Args:
        layer: A pruned layer.
        sparsity: Fraction of its units, in `[0, 1]`.
        splice: As in `PrunedDense.prune`.
        scores: Mapping from ids of layers to arrays of scores, or to `None`.
    """
    wanted = max(sparsity, layer.unit_sparsity)
    how = {"scores": scores[id(layer)], "regrow": False, "splice": splice}
    layer.prune(sparsity=wanted, **how)


def prune_further_together(layers, sparsity, splice, scores):
    """Prunes layers by one threshold, as `prune_further` does one."""
    scores = [scores[id(layer)] for layer in layers]
    prune_together(layers, sparsity, scores=scores, regrow=False, splice=splice)
