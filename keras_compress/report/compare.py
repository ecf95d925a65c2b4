"""`report`: checks the request, counts and measures each model, joins the results."""

import collections
import dataclasses

from keras_compress._copies import all_layers
from keras_compress._validation import check_int, invalid
from keras_compress.report import measurement, model_inputs
from keras_compress.report.counting import model_cost
from keras_compress.report.results import Report


def report(
    *models,
    names=None,
    activations=None,
    measure=False,
    batches=(1, 64),
    inputs=None,
    extra=None,
):
    """Compares what models cost: weights, bytes, multiply-adds, energy, latency.

    Every model runs once, eagerly, on one example, while each layer's calls are
    watched: nested models, shared layers (each call counts, the weights once) and
    layers inside wrappers are all seen. The models are left as they are.

    Conventions: *weights* are the elements of kernels and embeddings, as in Han's
    tables; a weight that is masked or exactly zero is not kept; biases and
    normalisations are parameters only. *Parameters* are elements of floating-point and
    int8 variables: masks and indices are none. Multiply-adds are for one example; a
    batch normalisation counts one an element, a layer normalisation two, biases,
    activations and pooling none. Energy is that of the multiply-adds the layers really
    do (a mask saves none, a sparse layer does) and of reading every variable once from
    DRAM, by Horowitz's table.

    Args:
        *models: Built Keras models; the first is what the others are compared with.
        names: Sequence of one title a model. Defaults to the models' names.
        activations: Array or structure of arrays, inputs with the batch in front, or
            `None`. Given, the fraction of zeros in each layer's inputs and outputs is
            measured on them, and with it the share of products in which neither
            factor is zero.
        measure: Whether to measure bytes on disk (`.keras` without the optimizer's
            state, as Keras and as `keras_compress.save` writes it, and the SavedModel
            of `export`) and latency.
        batches: Integers >= 1, the batch sizes to time.
        inputs: Array or structure of arrays of at least one example, needed for models
            whose input shape is not fully known. Latency is measured on them.
        extra: Dict from a row's title to one number or text a model, put on top of the
            table.

    Returns:
        A `Report`: `print` it, or use `.to_dict()`, `.to_json()`, `.to_markdown()`,
        `.plot(path)`.

    Raises:
        ValueError: If there is no model, one is not a built Keras model, an argument
            is out of range, or the data does not fit a model.

    Example:
    >>> layers = [keras.Input((784,)), keras.layers.Dense(10, name="softmax")]
    >>> result = report(keras.Sequential(layers, name="regression"))
    >>> result.models[0].multiply_adds
    7840

    Reference:
        - [Han et al., 2015](https://arxiv.org/abs/1506.02626), tables 2 to 5.
        - Horowitz, 2014, "Computing's energy problem", ISSCC.
    """
    if not models:
        raise invalid("models", "one Keras model or more", models)
    for model in models:
        model_inputs.check_built(model)
    if not isinstance(batches, tuple | list) or not batches:
        raise invalid("batches", "a sequence of integers >= 1", batches)
    batches = tuple(check_int("batches", batch, minimum=1) for batch in batches)
    names = _check_names(names, models)
    extra = _check_extra(extra, len(models))
    notes = []
    costs = [
        model_cost(model, name, inputs, activations, notes)
        for model, name in zip(models, names, strict=True)
    ]
    if measure:
        costs = _measured(models, costs, inputs, activations, batches, notes)
    return Report(
        models=tuple(costs),
        extra=extra,
        batches=batches if measure else (),
        threads=measurement.thread_count() if measure else None,
        notes=tuple(dict.fromkeys(notes)),
    )


def _check_names(names, models):
    if names is None:
        return _default_names(models)
    titles = isinstance(names, tuple | list) and all(isinstance(n, str) for n in names)
    if not titles or len(names) != len(models) or len(set(names)) != len(names):
        raise invalid("names", f"{len(models)} different strings", names)
    return list(names)


def _check_extra(extra, count):
    if extra is None:
        return {}
    if not isinstance(extra, dict):
        raise invalid("extra", "a dict from titles to values", extra)
    for title, values in extra.items():
        if not isinstance(values, tuple | list) or len(values) != count:
            raise invalid("extra", f"{count} values a row, as {title!r} should", values)
    return {
        str(title): [x.item() if hasattr(x, "item") else x for x in values]
        for title, values in extra.items()
    }


def _default_names(models):
    """The models' names; what a swap named alike is told apart by what is in it."""
    names = [model.name for model in models]
    names = [
        f"{model.name} ({_role(model)})" if names.count(model.name) > 1 else model.name
        for model in models
    ]
    seen = collections.Counter()
    for position, name in enumerate(names):
        seen[name] += 1
        if seen[name] > 1:
            names[position] = f"{name} {seen[name]}"
    return names


def _role(model):
    modules = [type(layer).__module__ for layer in all_layers(model)]
    if any(module.startswith("keras_compress.layers.packed") for module in modules):
        return "packed"
    if any(module.startswith("keras_compress.layers") for module in modules):
        return "compressed"
    return "original"


def _measured(models, costs, inputs, activations, batches, notes):
    data = []
    for model in models:
        given = activations if inputs is None else inputs
        argument = "activations" if inputs is None else "inputs"
        data.append(
            model_inputs.random_inputs(model)
            if given is None
            else model_inputs.fitted(model, given, argument)
        )
    measured = []
    times = measurement.latencies(models, data, batches)
    for model, found, latency in zip(models, costs, times, strict=True):
        sizes = {}
        for field in ("keras_bytes", "deflated_bytes", "saved_model_bytes"):
            try:
                sizes[field] = getattr(measurement, field)(model)
            except Exception as error:
                # A model that cannot be saved can still be compared.
                reason = str(error).strip().splitlines()[0]
                notes.append(f"{found.name}: {field} was not measured: {reason}")
        measured.append(dataclasses.replace(found, latency=latency, **sizes))
    notes.append(
        f"Latency is the median of a forward pass in a tf.function, the models taking "
        f"turns, {measurement.thread_count()} threads."
    )
    return measured
