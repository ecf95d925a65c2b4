"""Finds and loads the native library, and says what is in use."""

import contextlib
import contextvars
import ctypes
import warnings
from pathlib import Path

import tensorflow as tf

FILE = Path(__file__).with_name("_native.so")
OPS = (
    *("kc_sparse_matmul", "kc_sparse_conv2d", "kc_pack_signs", "kc_xnor_matmul"),
    *("kc_xnor_network", "kc_xnor_stages", "kc_xnor_conv2d", "kc_pool_signs"),
    *("kc_integer_matmul", "kc_level_bits", "kc_low_rank_matmul"),
)

_twins = contextvars.ContextVar("keras_compress_twins", default=False)


class _Library:
    """The library as it was found when the package was imported."""

    def __init__(self, file=FILE):
        self.file = Path(file)
        self.ops = None
        self.reason = None
        self.warned = False
        if not self.file.exists():
            self.reason = (
                f"native ops: not built, {self.file} is missing; install from source "
                "with a C++17 compiler and KERAS_COMPRESS_REQUIRE_OPS=1 to see why"
            )
            return
        try:
            ops = tf.load_op_library(str(self.file))
            self._levels = ctypes.CDLL(str(self.file))
        except (tf.errors.OpError, OSError, RuntimeError) as error:
            self._refuse(str(error))
            return
        missing = [name for name in OPS if not hasattr(ops, name)]
        if missing:
            self._refuse(f"it lacks {', '.join(missing)}; build the package again")
            return
        self._levels.kc_level_name.restype = ctypes.c_char_p
        self.ops = ops
        self._follows = False

    def follow_threads(self):
        """Takes over TensorFlow's number of threads, once: it cannot change later."""
        if not self._follows:
            self._follows = True
            threads = tf.config.threading.get_intra_op_parallelism_threads()
            if threads > 0:
                self._levels.kc_set_threads(threads)

    def level(self):
        """The number of the SIMD level in use; that of plain loops is 0."""
        return self._levels.kc_level()

    def _refuse(self, reason):
        self.reason = f"native ops: not loaded, {self.file}: {reason}"
        self.warn()

    def warn(self):
        """Says once that the twins are in use."""
        if not self.warned:
            self.warned = True
            warnings.warn(
                f"{self.reason}. Plain TensorFlow is used instead, which gives the "
                "same results without the speed.",
                RuntimeWarning,
                stacklevel=4,
            )

    def status(self):
        """One sentence, for people."""
        if self.reason:
            return self.reason
        count = self._levels.kc_num_levels()
        names = [self._levels.kc_level_name(i).decode() for i in range(count)]
        level = names[self.level()]
        return f"native ops: {level} (available: {', '.join(names)}), {self.file}"


_library = _Library()


def native_status():
    """Says in one sentence which native ops are in use.

    Returns:
        `native ops: <level> (available: ...), <file>`, or `native ops: not built, ...`
        or `native ops: not loaded, ...` with the reason.

    Example:

    >>> native_status()  # doctest: +SKIP
    'native ops: avx512 (available: scalar, avx2, avx512), .../ops/_native.so'
    """
    return _library.status()


def has_vectors():
    """Whether there are native ops, on vector instructions.

    `pack` asks it: plain loops, and twins, are no faster than plain layers.

    Example:

    >>> has_vectors()  # doctest: +SKIP
    True
    """
    return _library.ops is not None and _library.level() > 0


@contextlib.contextmanager
def twins():
    """Within it every op is made of plain TensorFlow, whatever is installed.

    For graphs that must run where this package is not, and for XLA. It holds for the
    code that runs, or is traced, inside the `with`, in this thread.

    Example:

    >>> with twins():
    ...     graph = tf.function(layer).get_concrete_function(spec)  # doctest: +SKIP
    """
    token = _twins.set(True)
    try:
        yield
    finally:
        _twins.reset(token)


def native_op(name):
    """The native op of that name, or `None` where its twin is to be used.

    Warns, once, where that is because there is no library.

    Args:
        name: One of `OPS`.

    Returns:
        A function, or `None`.
    """
    if _twins.get():
        return None
    if _library.ops is None:
        _library.warn()
        return None
    return getattr(_library.ops, name)
