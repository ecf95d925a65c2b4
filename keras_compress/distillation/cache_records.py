"""What teachers say of an example as a record of bytes, and back."""

import dataclasses
import hashlib

import keras
import numpy as np
import tensorflow as tf

from keras_compress._validation import invalid
from keras_compress.distillation.cached_batch import FAMILIES
from keras_compress.distillation.outputs import outputs_alone
from keras_compress.functional import distillation as formulas
from keras_compress.functional import top_logits

# How far numbers may be off that were rounded, relative to the larger of them and 1.
FORMATS = {"float16": 4e-3, "float32": 1e-4}


@dataclasses.dataclass(frozen=True)
class Field:
    """One output of one teacher, of one example.

    Args:
        shape: The output's.
        top_k: How many classes are kept, or `None` for all.
        family: As of `Output`; `None` where the teacher does not say.
    """

    shape: tuple
    top_k: int | None
    family: str | None

    def parts(self, dtype):
        """Pairs of shape and type that lie in the record one after another."""
        if self.top_k is None:
            return [(self.shape, np.dtype(dtype))]
        kept = (*self.shape[:-1], self.top_k)
        classes = np.dtype("uint16" if self.shape[-1] <= 65536 else "int32")
        number = np.dtype(dtype)
        return [(kept, number), (self.shape[:-1], number), (kept, classes)]


class Recorder:
    """Runs teachers, and writes and reads what they say.

    Args:
        ensemble: An `Ensemble`.
        top_k: As of `cache_logits`.
        dtype: As of `cache_logits`.
    """

    def __init__(self, ensemble, top_k, dtype):
        self.ensemble = ensemble
        self.top_k = top_k
        self.dtype = dtype
        self.mixes = ensemble.combine == "logits" and len(ensemble) > 1
        self.fields = None
        self._run = tf.function(self._outputs, reduce_retracing=True)

    def header(self):
        """What decides whether a file is of these teachers and settings."""
        equal = len(set(self.ensemble.weights)) == 1
        return {
            "version": 1,
            "teachers": [_fingerprint(model) for model in self.ensemble],
            "combine": self.ensemble.combine,
            "weights": None if equal else list(self.ensemble.weights),
            "top_k": self.top_k,
            "dtype": self.dtype,
            "shapes": [[list(one.shape) for one in flat] for flat in self.fields],
            "record_bytes": self.bytes,
        }

    @property
    def bytes(self):
        """The size of a record."""
        parts = (
            part
            for flat in self.fields
            for one in flat
            for part in one.parts(self.dtype)
        )
        return sum(int(np.prod(shape)) * kind.itemsize for shape, kind in parts)

    def records(self, inputs):
        """What the teachers say of a batch, a record a row, as bytes.

        Args:
            inputs: A batch of inputs.

        Raises:
            ValueError: If a number does not fit into `dtype`, or an output has another
                shape than in the first batch.
        """
        outputs = [[one.numpy() for one in flat] for flat in self._run(inputs)]
        if self.fields is None:
            # Mixed ones have one list, of the kinds that the first has.
            self.fields = [
                self._fields_of(model, flat)
                for model, flat in zip(self.ensemble, outputs, strict=False)
            ]
        rows = []
        for fields, flat in zip(self.fields, outputs, strict=True):
            for field, array in zip(fields, flat, strict=True):
                if array.shape[1:] != field.shape:
                    raise invalid(
                        "dataset",
                        "one for which teachers give outputs of one shape, "
                        f"{field.shape} an example, as of sequences of one length",
                        array.shape[1:],
                    )
                rows += self._rows(field, array)
        return np.concatenate(rows, axis=1)

    def read(self, records):
        """Tensors from a batch of records, as `CachedBatch` has them.

        Args:
            records: One string of them all.

        Returns:
            Teachers' outputs, their weights or `()`, and their families.
        """
        raw = tf.reshape(tf.io.decode_raw(records, tf.uint8), (-1, self.bytes))
        position, teachers = 0, []
        for fields in self.fields:
            outputs = []
            for field in fields:
                parts = []
                for shape, kind in field.parts(self.dtype):
                    size = int(np.prod(shape)) * kind.itemsize
                    part = raw[:, position : position + size]
                    part = tf.reshape(part, (-1, *shape, kind.itemsize))
                    parts.append(tf.bitcast(part, kind))
                    position += size
                outputs.append(self._joined(field, parts))
            teachers.append(tuple(outputs))
        families = tuple(
            tuple(FAMILIES.get(field.family, ()) for field in fields)
            for fields in self.fields
        )
        weights = self.header_weights()
        if weights is None:
            return tuple(teachers), (), families
        count = tf.shape(raw)[0]
        weights = tf.tile(tf.constant([weights]), (count, 1))
        return tuple(teachers), weights, families

    def header_weights(self):
        """Weights of the teachers stored, or `None` for equal ones."""
        weights = self.ensemble.weights
        return None if self.mixes or len(set(weights)) == 1 else list(weights)

    def check(self, found, expected, path):
        """Raises where teachers say something else than what was stored.

        Args:
            found: Records of the file.
            expected: Records made now, of the same inputs.
            path: The file's.
        """
        close = FORMATS[self.dtype]
        for one, other in zip(
            *(keras.tree.flatten(self.read(x.tobytes())[0]) for x in (found, expected)),
            strict=True,
        ):
            one, other = (np.asarray(x, "float32") for x in (one, other))
            scale = np.maximum(1.0, np.abs(other).max(axis=-1, keepdims=True))
            if not (np.abs(one - other) <= close * scale).all():
                raise ValueError(
                    f"`teacher` must be the one that {str(path)!r} was made of. "
                    "Received: one of the same weights that gives other outputs"
                )

    def _outputs(self, inputs):
        """Logits or values of each teacher, or of all together, as flat lists."""
        found = []
        for model in self.ensemble:
            flat = keras.tree.flatten(model(inputs, training=False))
            pairs = zip(outputs_alone(model, len(flat)), flat, strict=True)
            found.append([_raw(kind, tensor) for (kind, _), tensor in pairs])
        if self.mixes:
            weights = self.ensemble.weights
            columns = zip(*found, strict=True)
            found = [[formulas.mean_logits(one, weights) for one in columns]]
        return found

    def _fields_of(self, model, arrays):
        fields = []
        kinds = outputs_alone(model, len(arrays))
        for (kind, is_told), array in zip(kinds, arrays, strict=True):
            # One number for the rest does for classes alone, which sum up to one.
            is_long = self.top_k is not None and self.top_k < array.shape[-1]
            top_k = self.top_k if is_long and kind.family == "categorical" else None
            family = kind.family if is_told else None
            fields.append(Field(tuple(array.shape[1:]), top_k, family))
        return fields

    def _rows(self, field, array):
        arrays = [array]
        if field.top_k is not None:
            values, classes, rest = top_logits.largest_logits(array, field.top_k)
            arrays = [values, rest, classes]
        if not np.isfinite(array).all():
            raise invalid("teacher", "one of finite outputs", "NaN or infinite ones")
        for part, (_, kind) in zip(arrays, field.parts(self.dtype), strict=True):
            with np.errstate(over="ignore"):
                part = np.ascontiguousarray(part.astype(kind))
            if kind.kind == "f" and not np.isfinite(part).all():
                raise invalid(
                    "dtype", "a format that the teachers' outputs fit", self.dtype
                )
            yield part.reshape(len(part), -1).view("uint8")

    def _joined(self, field, parts):
        if field.top_k is None:
            return parts[0]
        values, rest, classes = parts
        return top_logits.from_largest_logits(
            tf.cast(values, "float32"),
            tf.cast(classes, "int32"),
            tf.cast(rest, "float32"),
            field.shape[-1],
        )


def _raw(kind, tensor):
    """Logits without the second class that binary units have beside them."""
    tensor = kind.logits(tensor)
    return tensor[..., 0] if kind.family == "binary" else tensor


def _fingerprint(model):
    """A digest of all weights, in order."""
    digest = hashlib.blake2b(digest_size=16)
    for weight in model.weights:
        array = keras.ops.convert_to_numpy(weight)
        digest.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return digest.hexdigest()
