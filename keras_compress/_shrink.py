"""A copy of a model without the units and channels that do nothing."""

import warnings

import numpy as np

from keras_compress._channels import Channels
from keras_compress._copies import all_layers
from keras_compress._rebuild import is_graph, rebuild, walk
from keras_compress._shrink_arrays import arrays_of, smaller


def shrink(model):
    """The model of `shrunk`, which see."""
    return shrunk(model)[0]


def shrunk(model):
    """The same model with fewer units and filters, where some do nothing.

    Does nothing: what nobody reads, and what is constant, whatever comes in, as a unit
    without weights is. The constant goes into the biases of those that read it. Behind
    zero padding a constant is not one at the edges; such channels are merged into one
    of them. With a channel go all that share its fate: the terms of a sum, the layers
    that hand it on. Groups of a convolution stay equal in size, or go whole. Repeats
    until nothing is left to go. Every layer keeps at least one unit.

    Args:
        model: A model that passed `check_model`. It is left as it is.

    Returns:
        A tuple: the new model, not compiled, or `model` itself where nothing goes,
        with outputs that equal those of `model` to float32 rounding; and a mapping
        from names of layers that may need all they read, to how many channels of
        constants they keep.

    Reference:
        - [Han et al., 2015](https://arxiv.org/abs/1506.02626), section 3.5
    """
    if not getattr(model, "outputs", None):
        return model, {}  # a Sequential that was built without a graph
    sources = {id(layer): layer for _, layer in walk(model)}
    # What lies inside a layer that is no model is that layer's business.
    for layer in all_layers(model):
        if not is_graph(layer):
            for inner in all_layers(layer)[1:]:
                sources.pop(id(inner), None)
    before = {key: arrays_of(layer) for key, layer in sources.items()}
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
        return model, channels.idle

    def replace(layer):
        if id(layer) not in changed:
            return None
        return smaller(layer, arrays[id(layer)])

    return rebuild(model, replace), channels.idle


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
        self._look_past_unread()
        self.merged = {}
        self.gone = self._free()
        self._leave_one_each()
        self._keep_groups_equal()
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

    def _look_past_unread(self):
        """What only such units read as nobody reads is not read, either."""
        while True:
            wanted = set(self.channels.fixed)
            for read in self.readings:
                wanted.update(read.classes[read.is_read])
            found = [
                read.look_past(~np.isin(self._columns(read), list(wanted)))
                for read in self.readings
            ]
            if not any(found):
                return

    def _columns(self, read):
        return self.channels.classes(self.channels.made[id(read.layer)])

    def _free(self):
        """All that nothing holds."""
        made = [self.channels.classes(x) for x in self.channels.made.values()]
        free = set(np.concatenate(made)) if made else set()
        free -= self.channels.fixed
        for read in self.readings:
            free -= set(read.classes[~read.is_free])
        return free - self._differing()

    def _differing(self):
        """What calls of one layer read as different constants: it has one bias."""
        found, firsts = set(), {}
        for read in self.readings:
            first = firsts.setdefault(id(read.layer), read)
            same = (first.constants == read.constants) | ~first.is_read
            found.update(first.classes[~same])
        return found

    def _leave_one_each(self):
        for channels in self.channels.made.values():
            classes = self.channels.classes(channels)
            if self.gone.issuperset(classes):
                self.gone.discard(classes[0])

    def _keep_groups_equal(self):
        """Keeps more than must stay, where groups would not be of one size."""
        grouped = [read for read in self.readings if "groups" in read.arrays]
        before = None
        while grouped and before != len(self.gone):
            before = len(self.gone)
            for read in grouped:
                inputs, outputs = read.arrays["groups"], read.arrays["output_groups"]
                sides = [(read.classes, inputs), (self._columns(read), outputs)]
                left = [
                    np.bincount(
                        groups[self._stays(classes)], minlength=outputs.max() + 1
                    )
                    for classes, groups in sides
                ]
                # A group goes with all that it reads and makes.
                whole = (left[0] == 0) & (left[1] == 0)
                for (classes, groups), counts in zip(sides, left, strict=True):
                    for group in np.unique(groups):
                        if not whole[group]:
                            wanted = max(1, counts.max()) - counts[group]
                            held = classes[(groups == group) & ~self._stays(classes)]
                            self.gone.difference_update(held[:wanted])

    def _stays(self, classes):
        return ~np.isin(classes, list(self.gone))

    def _merge(self):
        """Looks for two channels of constants behind zero padding."""
        held = {one: [None] for one in self._differing()}
        seen = [id(read.layer) for read in self.readings]
        for number, read in enumerate(self.readings):
            # A group that reads none of it would get smaller than others all the same.
            grouped = "groups" in read.arrays
            once = seen.count(id(read.layer)) == 1 and not grouped
            counts = dict(
                zip(*np.unique(read.classes, return_counts=True), strict=True)
            )
            for position, one in enumerate(read.classes):
                is_held = grouped or not read.is_free[position]
                if one in self.channels.fixed or not is_held:
                    continue
                fits = once and counts[one] == 1 and read.is_padded_constant[position]
                held.setdefault(one, []).append((number, position) if fits else None)
        makers = {}
        for key, channels in self.channels.made.items():
            for one in self.channels.classes(channels):
                makers.setdefault(one, []).append(key)
                if "groups" in self.before[key]:
                    held.setdefault(one, []).append(None)
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
        return self._stays(self.channels.classes(channels))

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
        if "groups" in read.arrays:
            new["groups"] = read.arrays["groups"][rows]
            new["output_groups"] = read.arrays["output_groups"][columns]
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
        # By input and output, whether any weight is not zero.
        self._weighs = (kernel != 0).any(axis=tuple(range(kernel.ndim - 2)))
        self.is_read = self._weighs.any(axis=1)
        known = ~np.isnan(self.true_constants)
        self._folds = self.true_constants == 0 if reading.is_padded else known
        self.is_padded_constant = known & ~self._folds
        self.constants = np.where(self._folds, self.true_constants, 0.0)

    @property
    def is_free(self):
        """Which inputs this reading does not hold."""
        return ~self.is_read | self._folds

    def look_past(self, outputs):
        """Takes no notice of some outputs; returns whether fewer inputs are read."""
        before = self.is_read
        self.is_read = self._weighs[:, ~outputs].any(axis=1)
        return (before != self.is_read).any()


def _of_channels(array, keep):
    return array[keep] if array.ndim == 1 else array[..., keep, :]
