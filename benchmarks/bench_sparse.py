"""Sparse against dense products, side by side in one process.

    taskset -c 1 python benchmarks/bench_sparse.py

See README.md beside this file for what each column counts.
"""

import argparse
import ctypes

from turns import CHAIN, Library, append, chained, conditions, interleaved, prepared

SHAPES = [(784, 300), (1024, 1024)]
BATCHES = [1, 4, 16, 64, 256]
SPARSITIES = [0.5, 0.8, 0.9, 0.92, 0.95, 0.98]


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


class Kernel(Library):
    """The library's C functions, with the arguments made ready beforehand."""

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
        columns["op"] = chained(lambda x, *w: ops.sparse_matmul(x, *w, b), x, weights)
        columns["tf"] = chained(lambda x, w: tf.nn.bias_add(tf.matmul(x, w), b), x, [w])
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


def main():
    args = arguments()
    prepared(args.threads, args.core)
    from tabulate import tabulate

    from keras_compress import ops
    from keras_compress.ops import _library

    print(ops.native_status())
    kernel = Kernel(_library.FILE)
    if args.smoke:
        args.rounds = 1
    shapes = SHAPES[:1] if args.smoke else SHAPES
    batches = [1, 64] if args.smoke else BATCHES
    if args.batch:
        batches = [args.batch]
    sparsities = [0.9] if args.smoke else SPARSITIES
    facts = conditions()
    print(facts)
    rows = []
    for shape in shapes:
        for batch in batches:
            for sparsity in sparsities:
                found = row(args, kernel, shape, batch, sparsity)
                best = found.get("kernel", found.get(kernel.name(kernel.best)))
                line = {"shape": "{}x{}".format(*shape)}
                line |= {"batch": batch, "zeros": sparsity}
                line |= {f"{name} us": time for name, time in found.items()}
                line["numpy / kernel"] = found["numpy"] / best
                if "tf" in found:
                    line["tf / kernel"] = found["tf"] / best
                    line["tf / op"] = found["tf"] / found["op"]
                rows.append(line)
                append(args.json, line | facts)
    print(tabulate(rows, headers="keys", floatfmt=".2f"))


if __name__ == "__main__":
    main()
