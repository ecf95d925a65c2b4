"""A copy of a model without the units and channels that do nothing."""

import warnings

import keras
import numpy as np
from keras import ops

from keras_compress._channels import CONVOLUTION, DENSE, Channels
from keras_compress._copies import all_layers
from keras_compress._rebuild import is_graph, rebuild, walk
from keras_compress.layers._config import arguments_of
from keras_compress.layers.pruned import is_pruned


def shrink(model):
    """The same model with fewer units and filters, where some do nothing.

    Does nothing: what nobody reads, and what is constant, whatever comes in, as a unit
    without weights is. The constant goes into the biases of those that read it. Behind
    zero padding a constant is not one at the edges; such channels are merged into one
    of them. With a channel go all that share its fate: the terms of a sum, the layers
    that hand it on. Repeats until nothing is left to go. Every layer keeps at least one
    unit.

    Args:
        model: A model that passed `check_model`. It is left as it is.

    Returns:
        The new model, not compiled; or `model` itself where nothing goes. Outputs
        equal those of `model` to float32 rounding.

    Reference:
        - [Han et al., 2015](https://arxiv.org/abs/1506.02626), section 3.5
    """
    if not getattr(model, "outputs", None):
        return model  # a Sequential that was built without a graph
    sources = {id(layer): layer for _, layer in walk(model)}
    # What lies inside a layer that is no model is that layer's business.
    for layer in all_layers(model):
        if not is_graph(layer):
            for inner in all_layers(layer)[1:]:
                sources.pop(id(inner), None)
    before = {key: _arrays_of(layer) for key, layer in sources.items()}
    before = {key: found for key, found in before.items() if found is not None}
    arrays = dict(before)
    while True:
        channels = Channels(model, arrays)
        cut = _Cut(channels, arrays)
        if not cut.gone:
            break
        arrays = cut.arrays()
    if channels.idle:
        listed = ", ".join(f"{count} by {name!r}" for name, count in _most(channels))
        warnings.warn(
            f"Left in {model.name!r} are channels of constants, read by layers that "
            f"may do anything with them: {listed}.",
            stacklevel=3,
        )
    changed = {key for key in before if arrays[key] is not before[key]}
    if not changed:
        return model

    def replace(layer):
        if id(layer) not in changed:
            return None
        return _smaller(layer, arrays[id(layer)])

    return rebuild(model, replace)


def _arrays_of(layer):
    """The arrays of a layer that can lose channels, or `None` for any other.

    The kernel is the one of the forward pass.
    """
    kind = type(layer)
    changed = getattr(layer, "quantization_mode", None) or getattr(
        layer, "lora_enabled", False
    )
    # An activation with weights of its own may want them all.
    if changed or isinstance(getattr(layer, "activation", None), keras.Layer):
        return None
    if kind in DENSE + CONVOLUTION:
        if getattr(layer, "groups", 1) > 1:
            return None
        kernel = getattr(layer, "effective_kernel", lambda: layer.kernel)()
        arrays = {"kernel": kernel, "bias": layer.bias}
        if is_pruned(layer):
            arrays["mask"] = layer.mask
    elif kind is keras.layers.DepthwiseConv2D and layer.depth_multiplier == 1:
        arrays = {"kernel": layer.kernel, "bias": layer.bias}
    elif kind is keras.layers.BatchNormalization:
        names = ("gamma", "beta", "moving_mean", "moving_variance")
        arrays = {name: getattr(layer, name, None) for name in names}
    else:
        return None
    return {
        name: None if value is None else ops.convert_to_numpy(value)
        for name, value in arrays.items()
    }


def _most(channels):
    return sorted(channels.idle.items(), key=lambda pair: -pair[1])[:5]


class _Cut:
    """Which channels can go, and what becomes of the arrays."""

    def __init__(self, channels, arrays):
        self.channels = channels
        self.before = arrays
        self.readings = [
            _Read(reading, arrays[id(reading.layer)], channels)
            for reading in channels.readings
        ]
        # By layer, then by channel, all the constants that it is read with.
        self.merged = {}
        self.gone = self._free()
        self._leave_one_each()
        if not self.gone:
            self._merge()

    def arrays(self):
        """The arrays without the channels that are gone."""
        new = dict(self.before)
        for read in {id(read.layer): read for read in self.readings}.values():
            new[id(read.layer)] = self._cut_kernel(read)
        for key, channels in self.channels.handed_on.items():
            keep = self._kept(channels)
            if not keep.all():
                new[key] = {
                    name: None if array is None else _of_channels(array, keep)
                    for name, array in self.before[key].items()
                }
        return new

    def _free(self):
        """All that nothing holds."""
        made = [self.channels.classes(x) for x in self.channels.made.values()]
        free = set(np.concatenate(made)) if made else set()
        free -= self.channels.fixed
        for read in self.readings:
            free -= set(read.classes[~read.is_free])
        # A layer called several times has one bias for all of them.
        calls = {}
        for read in self.readings:
            calls.setdefault(id(read.layer), []).append(read)
        for reads in calls.values():
            first = reads[0]
            for other in reads[1:]:
                same = (first.constants == other.constants) | ~first.is_read
                free -= set(first.classes[~same])
        return free

    def _leave_one_each(self):
        for channels in self.channels.made.values():
            classes = self.channels.classes(channels)
            if self.gone.issuperset(classes):
                self.gone.discard(classes[0])

    def _merge(self):
        """Looks for two channels of constants behind zero padding."""
        held = {}
        seen = [id(read.layer) for read in self.readings]
        for number, read in enumerate(self.readings):
            once = seen.count(id(read.layer)) == 1
            counts = dict(
                zip(*np.unique(read.classes, return_counts=True), strict=True)
            )
            for position, one in enumerate(read.classes):
                if read.is_free[position] or one in self.channels.fixed:
                    continue
                fits = once and counts[one] == 1 and read.is_padded_constant[position]
                held.setdefault(one, []).append((number, position) if fits else None)
        makers = {}
        for key, channels in self.channels.made.items():
            for one in self.channels.classes(channels):
                makers.setdefault(one, []).append(key)
        groups = {}
        for one, places in held.items():
            if None not in places:
                # Of the same makers, so that each of them keeps one.
                key = (tuple(makers[one]), tuple(number for number, _ in places))
                groups.setdefault(key, []).append((one, dict(places)))
        for (_, numbers), members in groups.items():
            (_, keeper), *others = members
            for one, places in others:
                self.gone.add(one)
                for number in numbers:
                    merges = self.merged.setdefault(id(self.readings[number].layer), [])
                    merges.append((places[number], keeper[number]))

    def _kept(self, channels):
        return ~np.isin(self.channels.classes(channels), list(self.gone))

    def _cut_kernel(self, read):
        rows = self._kept(read.channels)
        columns = self._kept(self.channels.made[id(read.layer)])
        if rows.all() and columns.all():
            return read.arrays
        kernel, bias = read.arrays["kernel"], read.arrays["bias"]
        merges = self.merged.get(id(read.layer), [])
        if merges:
            kernel = kernel.copy()
        for source, target in merges:
            factor = read.true_constants[source] / read.true_constants[target]
            kernel[..., target, :] += factor * kernel[..., source, :]
        merged = np.zeros(len(rows), bool)
        merged[[source for source, _ in merges]] = True
        folded = ~rows & read.is_read & ~merged
        if folded.any() and read.constants[folded].any():
            sums = kernel[..., folded, :].reshape(-1, folded.sum(), len(columns))
            more = read.constants[folded] @ sums.sum(axis=0, dtype="float64")
            bias = (more if bias is None else bias + more).astype(kernel.dtype)
        new = {
            "kernel": kernel[..., rows, :][..., columns],
            "bias": None if bias is None else bias[columns],
        }
        if "mask" in read.arrays:
            mask = read.arrays["mask"][..., rows, :][..., columns]
            new["mask"] = mask | (new["kernel"] != 0)
        return new


class _Read:
    """A reading with what follows from the kernel that reads."""

    def __init__(self, reading, arrays, channels):
        self.layer = reading.layer
        self.arrays = arrays
        self.channels = reading.flow.channels
        self.classes = channels.classes(self.channels)
        self.true_constants = reading.flow.constants
        kernel = arrays["kernel"]
        others = tuple(axis for axis in range(kernel.ndim) if axis != kernel.ndim - 2)
        # Whether any weight is not zero.
        self.is_read = (kernel != 0).any(axis=others)
        known = ~np.isnan(self.true_constants)
        folds = self.true_constants == 0 if reading.is_padded else known
        self.is_free = ~self.is_read | folds
        self.is_padded_constant = known & ~folds
        self.constants = np.where(folds, self.true_constants, 0.0)


def _of_channels(array, keep):
    return array[..., keep, :] if array.ndim == 4 else array[keep]


def _smaller(layer, arrays):
    """A layer with these arrays, and what fills it."""
    arguments = arguments_of(layer)
    if "kernel" in arrays:
        if "units" in arguments:
            arguments["units"] = arrays["kernel"].shape[-1]
        if "filters" in arguments:
            arguments["filters"] = arrays["kernel"].shape[-1]
        arguments["use_bias"] = arrays["bias"] is not None
    new = type(layer)(**arguments)

    def fill():
        for name, array in arrays.items():
            if array is not None:
                getattr(new, name).assign(array)

    return new, fill
