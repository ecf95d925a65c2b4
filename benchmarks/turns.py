"""What the benches have in common: functions take turns, on a machine that is named."""

import argparse
import ctypes
import json
import os
import platform
import statistics
import subprocess
import time
from pathlib import Path

CHAIN = 32


def bench_parser(description, *, rounds, smoke="one row, one round"):
    """A parser of what every bench takes."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = made.add_argument
    add("--smoke", action="store_true", help=smoke)
    add("--json", metavar="FILE", help="append one line a row")
    add("--threads", type=int, default=1, help="of all that run")
    add("--core", type=int, default=None, help="run on this core only")
    add("--rounds", type=int, default=rounds)
    return made


class Library:
    """The library of native kernels, called through `ctypes`."""

    def __init__(self, file):
        self.library = ctypes.CDLL(str(file))
        self.library.kc_level_name.restype = ctypes.c_char_p
        self.best = self.library.kc_level()

    def levels(self):
        return range(self.library.kc_num_levels())

    def name(self, level):
        return self.library.kc_level_name(level).decode()


def interleaved(functions, rounds, budget=4e-4, clock=time.perf_counter, *, warm=False):
    """The median time of each function in microseconds, taken in turns.

    With `warm` each turn begins with a call that does not count: what the function
    before it threw out of the caches is not its affair.
    """
    repeats = []
    for function in functions:
        function()
        start = clock()
        function()
        once = clock() - start
        repeats.append(max(1, int(budget / max(once, 1e-9))))
    times = [[] for _ in functions]
    for _ in range(rounds):
        for function, count, taken in zip(functions, repeats, times, strict=True):
            if warm:
                function()
            start = clock()
            for _ in range(count):
                function()
            taken.append((clock() - start) / count)
    return [1e6 * statistics.median(taken) for taken in times]


def chained(product, inputs, weights, length=CHAIN):
    """So many products in one graph, each waiting for the one before it.

    Reading a variable costs no copy, and is an effect, so that two equal products are
    not taken for one; `prepared` turns off what would drop those nobody looks at.
    """
    import tensorflow as tf

    held = tf.Variable(inputs)
    weights = [tf.Variable(weight) for weight in weights]

    @tf.function(autograph=False)
    def chain():
        read = [weight.read_value() for weight in weights]
        outputs = product(held.read_value(), *read)
        for _ in range(length - 1):
            with tf.control_dependencies([outputs]):
                outputs = product(held.read_value(), *read)
        return outputs

    return chain


def aligned(array):
    """A copy that begins where a cache line does, as TensorFlow's tensors do."""
    import numpy as np

    held = np.empty(array.nbytes + 64, np.uint8)
    skip = -held.ctypes.data % 64
    copy = held[skip : skip + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def prepared(threads, core=None):
    """TensorFlow, on so many threads, and on this core alone if one is given.

    To be called before anything imports NumPy, which asks for its threads then.
    """
    if core is not None:
        os.sched_setaffinity(0, {core})
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.optimizer.set_experimental_options(
        {"dependency_optimization": False, "disable_model_pruning": True}
    )
    return tf


def conditions():
    """The machine, the versions and the commit."""
    import keras
    import numpy as np
    import tensorflow as tf

    from keras_compress import __version__, native_status

    info = Path("/proc/cpuinfo")
    facts = [
        line.split(":", 1)[1].strip()
        for line in (info.read_text().splitlines() if info.exists() else [])
        if line.startswith(("model name", "cpu family"))
    ]
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
    ).stdout.strip()
    return {
        "cpu": " family ".join(reversed(facts[:2])) or platform.processor(),
        "native": native_status().split(",")[0],
        "python": platform.python_version(),
        "numpy": np.__version__,
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "keras_compress": __version__,
        "commit": commit,
    }


def append(file, line):
    """One more line of JSON in a file, if there is one."""
    if file:
        with open(file, "a") as log:
            print(json.dumps(line), file=log)
