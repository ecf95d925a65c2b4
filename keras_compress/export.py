"""`export`: a SavedModel of the weights and nothing else, written whole or not."""

import contextlib
import functools
import os
import shutil
import uuid
from pathlib import Path

import keras
import tensorflow as tf

from keras_compress._copies import all_layers
from keras_compress._validation import invalid
from keras_compress._watched import watched
from keras_compress.ops import twins

# Of the tables of these layers, Keras 3.8 knows by the layer only.
TABLES = (
    tf.saved_model.experimental.TrackableResource,
    keras.layers.IntegerLookup,
    keras.layers.StringLookup,
    keras.layers.TextVectorization,
)


def export(model, path, *, portable=False):
    """Writes a SavedModel directory for serving.

    It has a `serving_default` signature and stores each variable once, and the tables
    of lookup layers. The batch dimension is free, unless the inputs of a Functional
    model fix it, or those of a Sequential one with stateful layers, such as
    `LSTM(stateful=True)`. It is written under a temporary name beside `path` and
    renamed when complete, so an interrupted export leaves nothing at `path`.

    Args:
        model: A built Sequential or Functional model, best a packed one: what is in it
            is written.
        path: Directory to make. It must not exist, its parent must.
        portable: Whether to use standard TensorFlow operations only, which any
            TensorFlow loads, instead of the native ones, which need
            `import keras_compress` (or its library loaded) and are faster.

    Returns:
        `path`, as a `pathlib.Path`.

    Raises:
        ValueError: If `model` is not a built Sequential or Functional model, or calls
            a `TimeDistributed` on an unknown number of steps where Keras takes the
            batch for the steps (Keras 3.15); `path` is no path, exists or cannot be
            written, or `portable` is not a bool.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> export(model, tmp_path / "served").name
    'served'
    """
    if not isinstance(model, keras.Model):
        raise invalid("model", "a keras.Model", model)
    # A subclassed model has no inputs, whatever it was called on.
    if not model.built or not getattr(model, "inputs", None):
        raise invalid("model", "built, with known inputs", model.name)
    if not isinstance(path, str | os.PathLike):
        raise invalid("path", "a path", path)
    if not isinstance(portable, bool):
        raise invalid("portable", "True or False", portable)
    path = Path(path)
    if os.path.lexists(path):
        raise invalid("path", "a path where nothing is yet", str(path))
    if not path.parent.is_dir():
        raise invalid("path", "in a directory that exists", str(path))
    operations = twins() if portable else contextlib.nullcontext()
    with _renamed_when_complete(path) as temporary, operations:
        # A gradient that is an error, as that of packed signs, could not be written.
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        with _no_steps_lost(model):
            _archive(model).write_out(str(temporary), options=options, verbose=False)
    return path


@contextlib.contextmanager
def _no_steps_lost(model):
    """Raises at its end where a `TimeDistributed` was called on unknown steps."""
    unknown = {}

    def watch(layer, call, args, kwargs):
        inputs = args[0] if args else kwargs["inputs"]
        if inputs.shape[1] is None:
            unknown.setdefault(layer.name, tuple(inputs.shape))
        return call(*args, **kwargs)

    error = None
    with contextlib.ExitStack() as stack:
        for layer in all_layers(model):
            if isinstance(layer, keras.layers.TimeDistributed):
                stack.enter_context(watched(layer, watch))
        try:
            yield
        except Exception as raised:  # wrong steps may fit no layer behind them
            error = raised
    if unknown and _loses_steps():
        name, shape = next(iter(unknown.items()))
        raise ValueError(
            f"Layer {name!r}, a TimeDistributed, is called on {shape}: Keras takes the "
            "batch for the steps where their number is not known. Make the model with "
            "a fixed number, as in keras.Input((10, ...)), and give it the same "
            "weights."
        ) from error
    if error is not None:
        raise error


@functools.cache
def _loses_steps():
    """Whether Keras takes the batch for the steps where their number is not known."""
    # Named by hand, for a name made up here would shift those of the user's models.
    inner = keras.layers.Activation("linear", name="keras_compress_probe")
    layer = keras.layers.TimeDistributed(inner, name="keras_compress_probes")
    call = tf.function(layer, input_signature=[tf.TensorSpec((None, None, 1))])
    return call(tf.zeros((1, 2, 1))).shape[1] != 2


@contextlib.contextmanager
def _renamed_when_complete(path):
    """A temporary path beside `path`, renamed to it in the end, or removed."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.mkdir()
    except OSError as error:
        raise invalid("path", f"writable ({error.strerror})", str(path)) from error
    try:
        yield temporary
        os.rename(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _archive(model):
    """What is saved: one function, and the variables and tables that it reads.

    `Model.export` tracks the whole model beside the function, and so stores every
    variable twice, those that only training needs included.
    """
    archive = keras.export.ExportArchive()
    archive.add_endpoint(
        "serve", lambda inputs: model(inputs, training=False), [_signature(model)]
    )
    # The archive finds variables by itself, but no tables.
    tables = tf.Module()
    found = tf.train.TrackableView(model).descendants()
    tables.all = [one for one in found if isinstance(one, TABLES)]
    archive.track(tables)
    return archive


def _signature(model):
    """The specs of what the served function takes."""
    # A Sequential keeps the batch that it was built on, which only a state insists on.
    sequential = isinstance(model, keras.Sequential)
    fixed = not sequential or any(
        getattr(layer, "stateful", False) for layer in all_layers(model)
    )

    def spec(tensor):
        batch = tensor.shape[0] if fixed else None
        return tf.TensorSpec((batch, *tensor.shape[1:]), tensor.dtype, tensor.name)

    return keras.tree.map_structure(
        spec, model.inputs[0] if sequential else model.input
    )
