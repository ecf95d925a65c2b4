"""One forward pass, watched: which layers are called, on what, at any depth."""

import contextlib
import dataclasses
import math
import threading

import keras
import tensorflow as tf

from keras_compress._copies import all_layers
from keras_compress._watched import watched
from keras_compress.report import layer_costs

# Held while layers are watched: two runs at once would watch each other's wrappers.
_WATCHING = threading.RLock()


@dataclasses.dataclass
class Trace:
    """What was seen of one layer in a forward pass.

    `calls` holds `(input_shape, output_shape, repeats)`; the counts of elements and
    non-zeros are sums over all calls whose tensors could be read. `first` says that no
    layer with weights stands before this one.
    """

    layer: keras.layers.Layer
    calls: list = dataclasses.field(default_factory=list)
    first: bool = True
    input_elements: int = 0
    input_nonzeros: int = 0
    output_elements: int = 0
    output_nonzeros: int = 0


@dataclasses.dataclass
class _Loop:
    """A layer that runs once for each of `steps` time steps.

    `tried` says that it is called once more before them, for the shape of its outputs.
    """

    layer: keras.layers.Layer
    steps: int
    tried: bool = False
    calls: int = 0
    running: bool = False


class Recorder:
    """Collects a `Trace` for every layer of `model` that computes something.

    Threads take turns. What another thread calls meanwhile is not recorded.
    """

    def __init__(self, model, count_zeros=False):
        self.model = model
        self.count_zeros = count_zeros
        self.traces = {}
        self._loops = []
        self._muted = False
        self._weights_seen = False
        # Whether functions must run uncompiled; not known before the first run.
        self._eager = None
        self._compiled = False
        # Tensors that no weight has touched, kept alive so that ids stay theirs.
        self._raw = {}

    def run(self, inputs):
        """Calls the model on `inputs` and returns its outputs; changes nothing."""
        with _WATCHING:
            return self._run_once_or_twice(inputs)

    def _run_once_or_twice(self, inputs):
        inputs = keras.tree.map_structure(tf.convert_to_tensor, inputs)
        if self._eager is None:
            outputs = self._run(inputs)
            self._eager = self._compiled or self._missed_layers()
            if not self._eager:
                return outputs
            self.traces.clear()
        elif not self._eager:
            return self._run(inputs)
        # Some layers run in compiled code: Python sees them while tracing, if ever.
        before = tf.config.functions_run_eagerly()
        tf.config.run_functions_eagerly(True)
        try:
            return self._run(inputs)
        finally:
            tf.config.run_functions_eagerly(before)

    def _run(self, inputs):
        self._weights_seen = False
        self._raw = {id(x): x for x in tensors_of(inputs)}
        with variables_restored(self.model), contextlib.ExitStack() as stack:
            for layer in all_layers(self.model):
                stack.enter_context(watched(layer, self._watch))
            outputs = self.model(inputs, training=False)
        self._raw.clear()
        return outputs

    def _missed_layers(self):
        seen = {id(v) for t in self.traces.values() for v in t.layer.weights}
        return any(id(v) not in seen for v in self.model.weights)

    def _watch(self, layer, call, args, kwargs):
        if self._muted:
            return call(*args, **kwargs)
        loop = self._loops[-1] if self._loops else None
        if loop is not None and not loop.running:
            if layer is loop.layer:
                return self._watch_step(loop, call, args, kwargs)
            if any(layer is inner for inner in all_layers(loop.layer)):
                # Keras tries single cells of a stack out before the steps.
                return self._unwatched(call, args, kwargs)
        return self._watch_any(layer, call, args, kwargs)

    def _watch_any(self, layer, call, args, kwargs):
        if isinstance(layer, keras.layers.TimeDistributed):
            return self._watch_steps(layer.layer, False, call, args, kwargs)
        if not layer_costs.is_container(layer):
            return self._watch_leaf(layer, call, args, kwargs)
        if isinstance(layer, keras.layers.RNN):
            return self._watch_steps(layer.cell, not layer.unroll, call, args, kwargs)
        return call(*args, **kwargs)

    def _unwatched(self, call, args, kwargs):
        muted, self._muted = self._muted, True
        try:
            return call(*args, **kwargs)
        finally:
            self._muted = muted

    def _watch_leaf(self, layer, call, args, kwargs):
        inputs = tensors_of((args, _data_only(kwargs)))
        first = not self._weights_seen or all(id(x) in self._raw for x in inputs)
        if layer_costs.runs_its_layers_itself(layer):
            result = self._unwatched(call, args, kwargs)
        else:
            result = call(*args, **kwargs)
        outputs = tensors_of(result)
        running = [loop for loop in self._loops if loop.running]
        # Only the first step is recorded: TensorFlow traces the body of a loop as often
        # as it likes. Zeros are counted in all of them.
        if any(loop.calls > 1 for loop in running):
            if id(layer) in self.traces:
                self._count(self.traces[id(layer)], inputs, outputs)
            return result
        if not self._loops and any(map(tf.is_symbolic_tensor, outputs)):
            self._compiled = True
        if layer.weights:
            self._weights_seen = True
        elif first:
            self._raw.update((id(x), x) for x in outputs)
        trace = self.traces.setdefault(id(layer), Trace(layer))
        repeats = math.prod(loop.steps for loop in running)
        trace.calls.append((_shape(inputs), _shape(outputs), repeats))
        trace.first = trace.first and first
        self._count(trace, inputs, outputs)
        return result

    def _watch_steps(self, layer, tried, call, args, kwargs):
        inputs = tensors_of((args, _data_only(kwargs)))
        trace = self.traces.get(id(layer))
        before = 0 if trace is None else trace.output_elements
        self._loops.append(_Loop(layer, int(inputs[0].shape[1]), tried))
        try:
            result = call(*args, **kwargs)
        finally:
            self._loops.pop()
        # Where tensors are symbolic inside, all steps together are seen from here.
        trace = self.traces.get(id(layer))
        if trace is not None and trace.output_elements == before:
            self._count(trace, inputs, tensors_of(result))
        return result

    def _watch_step(self, loop, call, args, kwargs):
        loop.calls += 1
        loop.running = True
        try:
            return self._watch_any(loop.layer, call, args, kwargs)
        finally:
            loop.running = False

    def _count(self, trace, inputs, outputs):
        # What a trial counts would count again in the first step.
        trial = any(x.running and x.tried and x.calls == 1 for x in self._loops)
        if trial or not self.count_zeros:
            return
        if any(tf.is_symbolic_tensor(x) for x in (*inputs, *outputs)):
            return
        elements, nonzeros = count_nonzeros(inputs)
        trace.input_elements += elements
        trace.input_nonzeros += nonzeros
        elements, nonzeros = count_nonzeros(outputs)
        trace.output_elements += elements
        trace.output_nonzeros += nonzeros


@contextlib.contextmanager
def variables_restored(model):
    """Puts back what a forward pass may change: statistics, states and seeds."""
    trained = {id(v) for v in model.trainable_variables}
    kept = [(v, v.numpy()) for v in model.variables if id(v) not in trained]
    try:
        yield
    finally:
        for variable, value in kept:
            if variable.numpy().tobytes() != value.tobytes():
                variable.assign(value)


def count_nonzeros(tensors):
    """`(elements, non-zero elements)` of tensors."""
    elements = sum(int(tf.size(x, tf.int64)) for x in tensors)
    return elements, sum(int(tf.math.count_nonzero(x)) for x in tensors)


def tensors_of(structure):
    """The tensors in a structure of arguments, in order."""
    return [x for x in keras.tree.flatten(structure) if tf.is_tensor(x)]


def _data_only(kwargs):
    return {
        key: value
        for key, value in sorted(kwargs.items())
        if "mask" not in key and key not in ("training", "initial_state")
    }


def _shape(tensors):
    shapes = [tuple(x.shape) for x in tensors]
    return shapes[0] if len(shapes) == 1 else shapes
