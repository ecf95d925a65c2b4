"""How a packed layer lies in a file: as it lies in memory, or compact."""

import numpy as np
from keras import ops

from keras_compress._validation import check_choice
from keras_compress.functional.compact import decode, encode

STORAGES = ("fast", "compact")
_KEY = "compact"


class CompactWeights:
    """Saves the kernel and the bias of a layer as one compact payload.

    Loading gives back the variables bit for bit. Weights that a file holds in the
    plain way are read, too.
    """

    storage = "compact"

    def save_own_variables(self, store):
        if self.storage != "compact":
            super().save_own_variables(store)
            return
        payload = encode([_plain(array) for array in self._stored_arrays()])
        store[_KEY] = np.frombuffer(payload, "uint8")

    def load_own_variables(self, store):
        if _KEY not in store.keys():
            super().load_own_variables(store)
            return
        try:
            self._restore(*decode(np.asarray(store[_KEY], "uint8")))
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"The compact weights of layer {self.name!r} cannot be read: {error}. "
                "The file is damaged, or of another layer; write it again."
            ) from error

    def _stored_arrays(self):
        """All that has to be stored: the kernel, and the bias if there is one."""
        kernel = self.effective_kernel()
        return [kernel] if self.bias is None else [kernel, self.bias]

    def _restore(self, kernel, bias=None):
        self.fill(kernel, bias)


class ChosenStorage(CompactWeights):
    """Takes `storage=`: `"fast"`, or `"compact"` for what `CompactWeights` does."""

    def __init__(self, *args, storage="fast", **kwargs):
        self.storage = check_choice("storage", storage, STORAGES)
        super().__init__(*args, **kwargs)

    def get_config(self):
        return {**super().get_config(), "storage": self.storage}


class StoredIntegers(ChosenStorage):
    """The same for a kernel of integers."""

    def _stored_arrays(self):
        bias = self.bias if self.float_bias is None else self.float_bias
        return [self.effective_kernel(), self.fractions, bias]

    def _restore(self, codes, fractions, bias):
        name = "bias" if self.float_bias is None else "float_bias"
        self.fill(codes, fractions, **{name: bias})


def _plain(array):
    """As an array of one of NumPy's own types; each bfloat16 is a float32, too."""
    array = np.asarray(ops.convert_to_numpy(array))
    return array.astype("float32") if array.dtype.name == "bfloat16" else array
