"""Sparse against dense products, side by side in one process.

    taskset -c 1 python benchmarks/bench_sparse.py

See README.md beside this file for what each column counts.
"""

import argparse
import ctypes
import json
import os
import platform
import statistics
import subprocess
import time
from pathlib import Path

SHAPES = [(784, 300), (1024, 1024)]
BATCHES = [1, 4, 16, 64, 256]
SPARSITIES = [0.5, 0.8, 0.9, 0.92, 0.95, 0.98]
CHAIN = 32


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="one row, one round")
    parser.add_argument("--json", metavar="FILE", help="append one line a row")
    parser.add_argument("--threads", type=int, default=1, help="of TensorFlow")
    parser.add_argument("--core", type=int, default=None, help="run on this core only")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--levels", action="store_true", help="every SIMD level")
    parser.add_argument("--batch", type=int, help="this batch alone")
    parser.add_argument("--kernel-only", action="store_true", help="no TensorFlow ops")
    return parser.parse_args()


def interleaved(functions, rounds, budget=4e-4):
    """The median time of each function in microseconds, taken in turns."""
    repeats = []
    for function in functions:
        function()
        start = time.perf_counter()
        function()
        once = time.perf_counter() - start
        repeats.append(max(1, int(budget / once)))
    times = [[] for _ in functions]
    for _ in range(rounds):
        for function, count, taken in zip(functions, repeats, times, strict=True):
            start = time.perf_counter()
            for _ in range(count):
                function()
            taken.append((time.perf_counter() - start) / count)
    return [1e6 * statistics.median(taken) for taken in times]


class Kernel:
    """The library's C functions, with the arguments made ready beforehand."""

    def __init__(self, file):
        self.library = ctypes.CDLL(file)
        self.library.kc_level_name.restype = ctypes.c_char_p
        self.best = self.library.kc_level()

    def levels(self):
        return range(self.library.kc_num_levels())

    def name(self, level):
        return self.library.kc_level_name(level).decode()

    def call(self, inputs, values, indices, starts, bias, outputs):
        def pointer(array):
            return ctypes.c_void_p(array.ctypes.data)

        ready = (
            pointer(inputs),
            *(ctypes.c_int64(n) for n in (*inputs.shape, len(starts) - 1)),
            pointer(values),
            pointer(indices),
            ctypes.c_int(indices.itemsize),
            ctypes.c_int64(len(values)),
            pointer(starts),
            pointer(bias),
            pointer(outputs),
        )
        function = self.library.kc_sparse_matmul
        keep = (inputs, values, indices, starts, bias, outputs)
        return lambda: function(*ready) and keep


def chained(tf, product, inputs, weights):
    """32 products in one graph, each waiting for the one before it.

    Reading a variable costs no copy, and is an effect, so that two equal products are
    not taken for one; `main` turns off what would drop those nobody looks at.
    """
    held = tf.Variable(inputs)

    @tf.function(autograph=False)
    def chain():
        read = [weight.read_value() for weight in weights]
        outputs = product(held.read_value(), *read)
        for _ in range(CHAIN - 1):
            with tf.control_dependencies([outputs]):
                outputs = product(held.read_value(), *read)
        return outputs

    return chain


def row(args, kernel, shape, batch, sparsity):
    import numpy as np
    import tensorflow as tf

    from keras_compress import ops
    from keras_compress.functional import sparse

    random = np.random.default_rng(0)
    matrix = random.standard_normal(shape).astype(np.float32)
    matrix[random.random(shape) < sparsity] = 0.0
    bias = random.standard_normal(shape[1]).astype(np.float32)
    inputs = random.standard_normal((batch, shape[0])).astype(np.float32)
    outputs = np.zeros((batch, shape[1]), np.float32)
    weights = sparse.compress(matrix)
    native = kernel.call(inputs, *weights, bias, outputs)

    columns = {}
    if args.levels:
        for level in kernel.levels():
            columns[kernel.name(level)] = lambda level=level: (
                kernel.library.kc_set_level(level),
                native(),
            )
    else:
        columns["kernel"] = native
    columns["numpy"] = lambda: np.add(
        np.matmul(inputs, matrix, out=outputs), bias, out=outputs
    )
    if not args.kernel_only:
        x, w, b = (tf.constant(array) for array in (inputs, matrix, bias))
        held = [tf.Variable(array) for array in weights]
        columns["op"] = chained(tf, lambda x, *w: ops.sparse_matmul(x, *w, b), x, held)
        columns["tf"] = chained(
            tf, lambda x, w: tf.nn.bias_add(tf.matmul(x, w), b), x, [tf.Variable(w)]
        )
        fixed = [tf.constant(array) for array in weights]
        columns["op eager"] = lambda: ops.sparse_matmul(x, *fixed, b)
        columns["tf eager"] = lambda: tf.nn.bias_add(tf.matmul(x, w), b)
    times = interleaved(list(columns.values()), args.rounds)
    kernel.library.kc_set_level(kernel.best)
    found = dict(zip(columns, times, strict=True))
    for name in ("op", "tf"):
        if name in found:
            found[name] /= CHAIN
    return found


def conditions(kernel):
    import numpy as np
    import tensorflow as tf

    from keras_compress import __version__

    models = (
        [
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith(("model name", "cpu family"))
        ]
        if Path("/proc/cpuinfo").exists()
        else [platform.processor()]
    )
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
    ).stdout.strip()
    return {
        "cpu": " family ".join(reversed(models[:2])),
        "level": kernel.name(kernel.best),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "tensorflow": tf.__version__,
        "keras_compress": __version__,
        "commit": commit,
    }


def main():
    args = arguments()
    if args.core is not None:
        os.sched_setaffinity(0, {args.core})
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(args.threads)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf
    from tabulate import tabulate

    from keras_compress import ops
    from keras_compress.ops import _library

    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    tf.config.threading.set_inter_op_parallelism_threads(args.threads)
    tf.config.optimizer.set_experimental_options(
        {"dependency_optimization": False, "disable_model_pruning": True}
    )
    print(ops.native_status())
    kernel = Kernel(str(_library.FILE))
    if args.smoke:
        args.rounds = 1
    shapes = SHAPES[:1] if args.smoke else SHAPES
    batches = [1, 64] if args.smoke else BATCHES
    if args.batch:
        batches = [args.batch]
    sparsities = [0.9] if args.smoke else SPARSITIES
    facts = conditions(kernel)
    print(facts)
    rows = []
    for shape in shapes:
        for batch in batches:
            for sparsity in sparsities:
                found = row(args, kernel, shape, batch, sparsity)
                best = found.get("kernel", found.get(facts["level"]))
                line = {"shape": "{}x{}".format(*shape)}
                line |= {"batch": batch, "zeros": sparsity}
                line |= {f"{name} us": time for name, time in found.items()}
                line["numpy / kernel"] = found["numpy"] / best
                if "tf" in found:
                    line["tf / kernel"] = found["tf"] / best
                    line["tf / op"] = found["tf"] / found["op"]
                rows.append(line)
                if args.json:
                    with open(args.json, "a") as file:
                        print(json.dumps(line | facts), file=file)
    print(tabulate(rows, headers="keys", floatfmt=".2f"))


if __name__ == "__main__":
    main()
