"""What commands run models on: arrays of a file, or made to a shape that is given."""

import zipfile

import click
import keras
import numpy as np

from keras_compress._commands import BadArgument
from keras_compress.distillation.graphs import output_structure
from keras_compress.report.model_inputs import input_spec


class Shape(click.ParamType):
    """The shape of one example, as one word: `28x28x1`."""

    name = "shape"

    def convert(self, value, param, ctx):
        """The shape as a tuple of integers."""
        sides = value.split("x")
        if not all(side.isdecimal() and int(side) for side in sides):
            self.fail(f"{value!r} is no shape such as 28x28x1.", param, ctx)
        return tuple(map(int, sides))


def made_inputs(models, files, shapes):
    """Inputs of these shapes: normal numbers, zeros where integers go in.

    Args:
        models: The models that all take them.
        files: Their files, for the message.
        shapes: Sequence of shapes, one for each input, without the batch; empty where
            the models say them all.

    Returns:
        Structure of arrays, as the first model takes it, or `None` without shapes.

    Raises:
        BadArgument: If shapes are missing, or do not fit.
    """
    for model, file in zip(models, files, strict=True):
        _check_shapes(model, file, shapes)
    if not shapes:
        return None
    spec = input_spec(models[0])
    if spec is None:
        arrays = [_made((1, *shape), "float32") for shape in shapes]
        return arrays[0] if len(arrays) == 1 else arrays
    arrays = [
        _made((tensor.shape[0] or 1, *shape), tensor.dtype)
        for tensor, shape in zip(keras.tree.flatten(spec), shapes, strict=True)
    ]
    return keras.tree.pack_sequence_as(spec, arrays)


def _check_shapes(model, file, shapes):
    spec = input_spec(model)
    if spec is None:
        if not shapes:
            raise BadArgument(
                f"--shape must be given: {file} does not say the shape of its inputs."
            )
        return
    inputs = keras.tree.flatten(spec)
    takes = " and ".join(_shown(tensor.shape[1:]) for tensor in inputs)
    if not shapes:
        shown = [_shown(x.shape[1:]).replace("?", "32") for x in inputs]
        example = " ".join(f"--shape {shape}" for shape in shown)
        if any(None in x.shape[1:] or x.dtype == "string" for x in inputs):
            raise BadArgument(
                f"--shape must be given for each input: {file} takes {takes}. For "
                f"example: {example}"
            )
        return
    if len(shapes) != len(inputs) or not all(map(_fits, shapes, inputs)):
        given = " and ".join(map(_shown, shapes))
        raise BadArgument(
            f"--shape must be given for each input, and fit: {file} takes {takes}. "
            f"Received: {given}"
        )


def _fits(shape, tensor):
    wanted = tensor.shape[1:]
    pairs = zip(shape, wanted, strict=False)
    return len(shape) == len(wanted) and all(b in (None, a) for a, b in pairs)


def _shown(shape):
    """`(None, 8) -> '?x8'`."""
    return "x".join("?" if side is None else str(side) for side in shape) or "numbers"


def _made(shape, dtype):
    if dtype == "string":
        return np.full(shape, "")
    if "float" not in dtype:
        return np.zeros(shape, dtype)
    return np.random.default_rng(0).standard_normal(shape).astype("float32")


class Arrays:
    """The arrays of an .npz file, by which a model is called or measured.

    Args:
        path: Path of the file. The inputs are its array `x`, the targets `y`; of a
            model with several, the arrays that are called as these are, or as the keys
            of a dict of outputs.

    Raises:
        ClickException: If it cannot be read.
    """

    def __init__(self, path):
        self._path = path
        if not zipfile.is_zipfile(path):
            raise click.ClickException(f"{path} is not an .npz file.")
        try:
            with np.load(path) as file:
                self._arrays = dict(file)
        except Exception as error:
            # A broken file may fail anywhere in numpy, zipfile or zlib.
            message = f"{path} is not a readable .npz file: {error}"
            raise click.ClickException(message) from error

    def inputs(self, model):
        """A structure of arrays, as the model takes them."""
        spec = input_spec(model)
        names = [getattr(x, "name", None) for x in keras.tree.flatten(spec)]
        return self._packed("x", names, spec)

    def targets(self, model):
        """A structure of arrays, as the model gives them."""
        names = getattr(model, "output_names", ())
        structure = output_structure(model) if len(names) > 1 else None
        if isinstance(structure, dict) and len(structure) == len(names):
            names = sorted(structure)
        return self._packed("y", names, structure)

    def _packed(self, own, names, structure):
        names = names if len(names) > 1 else [own]
        missing = [name for name in names if name not in self._arrays]
        if missing:
            raise BadArgument(
                f"{self._path} must have the arrays {', '.join(names)}. Received: "
                f"{', '.join(self._arrays) or 'none'}"
            )
        arrays = [self._arrays[name] for name in names]
        if len(arrays) == 1:
            return arrays[0]
        return keras.tree.pack_sequence_as(structure, arrays)
