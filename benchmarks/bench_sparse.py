"""Sparse against dense products, side by side in one process.

    python benchmarks/bench_sparse.py --core 1

Every layout's kernel, the op that `pack` would choose, and what else there is. See
README.md beside this file for what each column counts.
"""

import ctypes

from turns import (
    Library,
    append,
    bench_parser,
    chained,
    conditions,
    interleaved,
    prepared,
)

SHAPES = ["784x300", "784x1024", "1024x1024", "4096x4096"]
BATCHES = [1, 16, 64, 256]
SPARSITIES = [0.5, 0.8, 0.9, 0.95]
LAYOUTS = ("csc", "lanes", "kblock", "panel16")


def arguments():
    parser = bench_parser(__doc__, rounds=11, smoke="two rows, one round")
    parser.add_argument("--levels", action="store_true", help="every SIMD level")
    parser.add_argument("--shape", nargs="*", default=SHAPES, help="as 784x300")
    parser.add_argument("--batch", nargs="*", type=int, default=BATCHES)
    parser.add_argument("--zeros", nargs="*", type=float, default=SPARSITIES)
    parser.add_argument("--layouts", nargs="*", default=LAYOUTS)
    parser.add_argument("--kernel-only", action="store_true", help="kernels and tf")
    parser.add_argument("--no-peers", action="store_true", help="no tf.sparse, scipy")
    return parser.parse_args()


LENGTHS = {
    "values": "value_count",
    "indices": "index_count",
    "starts": "start_count",
    "windows": "window_count",
    "order": "order_count",
    "segments": "segment_bytes",
}


class Matrix(ctypes.Structure):
    """`KcSparseMatrix` of the library."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("layout", "inputs", "units")),
        *(("values", ctypes.c_void_p), ("value_count", ctypes.c_int64)),
        *(("indices", ctypes.c_void_p), ("index_bytes", ctypes.c_int64)),
        *(("index_count", ctypes.c_int64), ("starts", ctypes.c_void_p)),
        *(("start_count", ctypes.c_int64), ("windows", ctypes.c_void_p)),
        *(("window_count", ctypes.c_int64), ("order", ctypes.c_void_p)),
        *(("order_count", ctypes.c_int64), ("segments", ctypes.c_void_p)),
        *(("segment_bytes", ctypes.c_int64), ("bias", ctypes.c_void_p)),
    )


class Kernel(Library):
    """The library's C functions, with the arguments made ready beforehand."""

    def call(self, inputs, weights, bias, outputs, layout):
        from turns import aligned

        from keras_compress.functional import sparse_layouts

        arrays = [aligned(array) for array in weights]
        names = sparse_layouts.PARTS[layout]
        matrix = Matrix(
            layout=sparse_layouts.LAYOUTS.index(layout),
            inputs=inputs.shape[1],
            units=len(bias),
            bias=bias.ctypes.data,
        )
        for name, array in zip(names, arrays, strict=True):
            setattr(matrix, name, array.ctypes.data)
            setattr(matrix, LENGTHS[name], array.size)
            if name == "indices":
                matrix.index_bytes = array.itemsize
        ready = (
            ctypes.byref(matrix),
            ctypes.c_void_p(inputs.ctypes.data),
            ctypes.c_int64(len(inputs)),
            ctypes.c_void_p(outputs.ctypes.data),
        )
        function = self.library.kc_sparse_matmul
        keep = (matrix, arrays, inputs, bias, outputs)
        return lambda: function(*ready) and keep


def pruned(shape, sparsity, blocks):
    """A matrix with so many zeros: anywhere, or in blocks of 1 x 16."""
    import numpy as np

    random = np.random.default_rng(0)
    matrix = random.standard_normal(shape).astype(np.float32)
    if blocks:
        kept = random.random((shape[0], -(-shape[1] // 16))) >= sparsity
        return matrix * np.repeat(kept, 16, axis=1)[:, : shape[1]]
    return matrix * (random.random(shape) >= sparsity)


def peers(inputs, matrix, bias):
    """What else multiplies by a sparse matrix."""
    import tensorflow as tf

    columns = {}
    sparse = tf.sparse.from_dense(matrix.T)
    x, b = tf.constant(inputs), tf.constant(bias)

    @tf.function(autograph=False)
    def product(x):
        found = tf.sparse.sparse_dense_matmul(sparse, x, adjoint_b=True)
        return tf.nn.bias_add(tf.transpose(found), b)

    columns["tf.sparse"] = lambda: product(x)
    try:
        import scipy.sparse
    except ImportError:
        print("no column for scipy, which is not installed")
    else:
        rows = scipy.sparse.csr_matrix(matrix.T)
        columns["scipy"] = lambda: (rows @ inputs.T).T + bias
    try:
        import torch
    except ImportError:
        pass  # said once, in main
    else:
        torch.set_num_threads(1)
        csr = torch.from_numpy(matrix.T.copy()).to_sparse_csr()
        t, c = torch.from_numpy(inputs), torch.from_numpy(bias)
        columns["torch"] = lambda: (csr @ t.T).T + c
    return columns


def row(args, kernel, shape, batch, sparsity):
    import numpy as np
    import tensorflow as tf
    from turns import aligned

    from keras_compress import ops
    from keras_compress.functional import sparse, sparse_cost

    random = np.random.default_rng(1)
    bias = aligned(random.standard_normal(shape[1]).astype(np.float32))
    inputs = aligned(random.standard_normal((batch, shape[0])).astype(np.float32))
    outputs = aligned(np.zeros((batch, shape[1]), np.float32))
    scattered, blocks = (pruned(shape, sparsity, blocks) for blocks in (False, True))
    matrices = {name: scattered for name in LAYOUTS} | {"panel16": blocks}
    weights = {
        name: sparse.compress(matrices[name], name)
        for name in args.layouts
        # Lanes take one row after the other.
        if name != "lanes" or batch <= 16
    }

    columns = {}
    for name, arrays in weights.items():
        native = kernel.call(inputs, arrays, bias, outputs, name)
        if args.levels:
            for level in kernel.levels():
                column = f"{name} {kernel.name(level)}"
                columns[column] = lambda level=level, native=native: (
                    kernel.library.kc_set_level(level),
                    native(),
                )
        else:
            columns[name] = native
    x, w, b = (tf.constant(array) for array in (inputs, scattered, bias))
    length = int(max(2, min(32, 4e9 / (batch * shape[0] * shape[1]))))
    chains = {
        "tf": chained(lambda x, w: tf.nn.bias_add(tf.matmul(x, w), b), x, [w], length)
    }
    stored = {
        name: len(arrays[0]) for name, arrays in weights.items() if name != "panel16"
    }
    chosen = sparse_cost.cheapest(stored, *shape, (batch,))
    if not args.kernel_only:
        forms = {"op": chosen, "blocks op": "panel16"}
        for column, name in forms.items():
            if name not in weights:
                continue
            arrays = [tf.constant(array) for array in weights[name]]

            def product(x, *w, name=name):
                return ops.sparse_matmul(x, w, b, layout=name)

            chains[column] = chained(product, x, arrays, length)
            columns[f"{column} eager"] = lambda f=product, w=arrays: f(x, *w)
        columns["tf eager"] = lambda: tf.nn.bias_add(tf.matmul(x, w), b)
    if not args.no_peers and not args.kernel_only:
        columns |= peers(inputs, scattered, bias)
    columns |= chains
    times = interleaved(list(columns.values()), args.rounds)
    kernel.library.kc_set_level(kernel.best)
    found = dict(zip(columns, times, strict=True))
    for name in chains:
        found[name] /= length
    return chosen, found


def main():
    args = arguments()
    prepared(args.threads, args.core)
    from tabulate import tabulate

    from keras_compress import ops
    from keras_compress.ops import _library

    print(ops.native_status())
    kernel = Kernel(_library.FILE)
    if args.smoke:
        args.rounds, args.shape = 1, args.shape[:1]
        args.batch, args.zeros = [1, 64], [0.9]
    facts = conditions()
    print(facts)
    try:
        import torch  # noqa: F401
    except ImportError:
        print("no column for MKL through torch, which is not installed")
    rows = []
    for shape in args.shape:
        sizes = tuple(int(size) for size in shape.split("x"))
        for batch in args.batch:
            for sparsity in args.zeros:
                chosen, found = row(args, kernel, sizes, batch, sparsity)
                line = {"shape": shape, "batch": batch, "zeros": sparsity}
                line |= {f"{name} us": time for name, time in found.items()}
                line["chosen"] = chosen
                for name in (*args.layouts, "op", "blocks op"):
                    if name in found:
                        line[f"tf / {name}"] = found["tf"] / found[name]
                rows.append(line)
                append(args.json, line | facts)
    print(tabulate(rows, headers="keys", floatfmt=".2f"))


if __name__ == "__main__":
    main()
