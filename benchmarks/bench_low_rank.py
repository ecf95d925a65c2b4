"""Low-rank layers against whole ones in TensorFlow, side by side in one process.

    taskset -c 1 python benchmarks/bench_low_rank.py

Of products: `dense` is the whole product in TensorFlow, `two` its factors there,
`kernel` the C function of both factors called through `ctypes`, `op` the op of it in a
graph. What is in a graph is counted in a `tf.function`, 128 one after another (less
where one takes long), divided by their number. `dense / ...` is the time of the whole
product over that of a form, `possible` that of the multiply-adds, which is that of the
bytes, too; `share` is the one over the other. `pack` says which form it takes for that
batch. `--levels` times the kernel at every SIMD level.

Of convolutions `ratio` is the time of the whole layer over that of its factors.
`--part svd` times the decompositions: the randomised SVD of VGG-16's fc1 against
LAPACK's, and its error against the best.
"""

import argparse
import ctypes
import math
import time

from turns import Library, aligned, append, chained, conditions, interleaved, prepared

SHAPES = [(784, 300), (784, 1024), (1024, 1024), (4096, 4096)]
BATCHES = [1, 16, 64, 256]
# Parts of the smaller side; the last two are near where factors stop paying.
PARTS = [16, 8, 4, 3, 2.2]
# Products in a graph: so many that the call itself counts little.
LONGEST_CHAIN, LARGEST_CHAIN = 128, 4e9  # of multiply-adds
# A layer of VGG's middle: window, channels, filters, pixels a side.
CONVOLUTION = (3, 128, 128, 56)
FC1 = (25088, 4096, 256)


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--smoke", action="store_true", help="one row a part, one round")
    add("--json", metavar="FILE", help="append one line a row")
    add("--threads", type=int, default=1, help="of TensorFlow")
    add("--rounds", type=int, default=15)
    parts = list(RUNS)
    add("--part", choices=parts, nargs="+", default=["products", "convolutions"])
    add("--shape", type=int, nargs=2, help="this shape of products alone")
    sizes = ("SIDE", "CHANNELS", "FILTERS", "PIXELS")
    add("--convolution", type=int, nargs=4, metavar=sizes)
    add("--batches", type=int, nargs="+", default=BATCHES)
    add("--parts", type=float, nargs="+", default=PARTS, help="of the smaller side")
    add("--levels", action="store_true", help="the kernel at every SIMD level")
    return parser.parse_args()


class Product(ctypes.Structure):
    """`KcLowRankProduct` of the library."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("inputs", "rank", "units")),
        *(("left", ctypes.c_void_p), ("left_count", ctypes.c_int64)),
        *(("right", ctypes.c_void_p), ("right_count", ctypes.c_int64)),
        *(("bias", ctypes.c_void_p), ("relu", ctypes.c_int64)),
    )


class Kernel(Library):
    """The library's C function, with the arguments made ready beforehand."""

    def call(self, inputs, left, right, bias, rank):
        import numpy as np

        arrays = [aligned(array) for array in (inputs, left, right, bias)]
        outputs = aligned(np.zeros((len(inputs), len(bias)), np.float32))
        at = [array.ctypes.data for array in arrays]
        sizes = inputs.shape[1], rank, len(bias)
        product = Product(*sizes, at[1], left.size, at[2], right.size, at[3], 0)
        ready = (
            *(ctypes.byref(product), ctypes.c_void_p(at[0])),
            *(ctypes.c_int64(len(inputs)), ctypes.c_void_p(outputs.ctypes.data)),
        )
        function = self.library.kc_low_rank_matmul
        keep = (product, arrays, outputs)
        return lambda: function(*ready) and keep

    def at(self, level, call):
        return lambda: (self.library.kc_set_level(level), call())


def products(args):
    import numpy as np
    import tensorflow as tf

    from keras_compress.functional.low_rank_cost import cheapest
    from keras_compress.functional.panels import to_panels
    from keras_compress.ops import _library, low_rank_matmul

    kernel = Kernel(_library.FILE)
    kernel.library.kc_set_threads(args.threads)
    random = np.random.default_rng(0)
    shapes = [tuple(args.shape)] if args.shape else SHAPES
    for shape in shapes[:1] if args.smoke else shapes:
        for batch in args.batches[:1] if args.smoke else args.batches:
            inputs = random.standard_normal((batch, shape[0])).astype("float32")
            bias = random.standard_normal(shape[1]).astype("float32")
            b = tf.constant(bias)
            size = batch * math.prod(shape)
            length = int(max(2, min(LONGEST_CHAIN, LARGEST_CHAIN / size)))

            def dense(x, w, b=b):
                return tf.nn.bias_add(tf.matmul(x, w), b)

            def two(x, left, right, b=b):
                return tf.nn.bias_add(tf.matmul(tf.matmul(x, left), right), b)

            whole = random.random(shape, "float32")
            runs = {("dense", None): chained(dense, inputs, [whole], length)}
            ranks = [max(1, int(min(shape) / part)) for part in args.parts]
            for rank in ranks:
                sides = (shape[0], rank), (rank, shape[1])
                factors = [random.random(side, "float32") for side in sides]
                panels = [to_panels(factor) for factor in factors]

                def op(x, left, right, rank=rank, b=b):
                    return low_rank_matmul(x, left, right, b, rank=rank)

                native = kernel.call(inputs, *panels, bias, rank)
                runs["two", rank] = chained(two, inputs, factors, length)
                runs["op", rank] = chained(op, inputs, panels, length)
                runs["kernel", rank] = kernel.at(kernel.best, native)
                for level in kernel.levels() if args.levels else ():
                    runs[kernel.name(level), rank] = kernel.at(level, native)
            taken = interleaved(list(runs.values()), args.rounds, 1e-3, warm=True)
            kernel.library.kc_set_level(kernel.best)
            times = {
                key: time / (length if key[0] in ("dense", "two", "op") else 1)
                for key, time in zip(runs, taken, strict=True)
            }
            whole = times.pop(("dense", None))
            for rank in ranks:
                found = {name: us for (name, of), us in times.items() if of == rank}
                possible = shape[0] * shape[1] / (rank * sum(shape))
                row = {"layer": "{}x{}".format(*shape), "batch": batch, "rank": rank}
                row |= {"possible": possible, "dense us": whole}
                row |= {f"{name} us": us for name, us in found.items()}
                row |= {f"dense / {name}": whole / us for name, us in found.items()}
                for name in ("two", "kernel", "op"):
                    row[f"{name} share"] = row[f"dense / {name}"] / possible
                yield row | {"pack": cheapest(*shape, rank, (batch,))}


def convolutions(args):
    import numpy as np
    import tensorflow as tf

    from keras_compress.functional import convolution
    from keras_compress.functional.convolution_geometry import Geometry

    given = args.convolution or CONVOLUTION
    side, channels, filters, pixels = (3, 8, 8, 8) if args.smoke else given
    shape = (side, side, channels, filters)
    random = np.random.default_rng(0)
    images = random.standard_normal((1, pixels, pixels, channels)).astype("float32")
    geometry = Geometry(padding="same")
    kernel = tf.Variable(random.standard_normal(shape), dtype="float32")
    held = tf.Variable(images)

    @tf.function(autograph=False)
    def whole():
        return geometry.window(held.read_value(), kernel.read_value())

    runs, rows = [whole], []
    clusters = (2, 2)
    for method in convolution.FORMS:
        for share in (0.25,) if args.smoke else (0.5, 0.25, 0.12):
            rank = convolution.rank_within(method, shape, share, clusters)
            sizes = convolution.FORMS[method].shapes(
                shape, convolution.check_rank(method, rank, shape, clusters), clusters
            )
            orders = convolution.FORMS[method].orders(shape, rank, clusters)
            factors = {
                name: tf.Variable(random.standard_normal(size), dtype="float32")
                for name, size in sizes.items()
            }
            for name, order in orders.items():
                factors[name] = tf.Variable(order, dtype="int32")

            @tf.function(autograph=False)
            def steps(form=convolution.FORMS[method], factors=factors):
                read = {name: value.read_value() for name, value in factors.items()}
                return form.forward(held.read_value(), geometry, **read)

            runs.append(steps)
            work = convolution.multiply_adds(method, shape, rank, clusters=clusters)
            rows.append((method, rank, np.prod(shape) / work))
    times = interleaved(runs, args.rounds, 2e-3)
    for (method, rank, possible), taken in zip(rows, times[1:], strict=True):
        name = f"{side}x{side} {channels}->{filters} on {pixels}x{pixels}"
        row = {"layer": name, "method": method, "rank": str(rank)}
        row |= {"dense us": times[0], "factors us": taken}
        row |= {"ratio": times[0] / taken, "possible": float(possible)}
        yield row | {"share": row["ratio"] / row["possible"]}


def svd(args):
    import numpy as np

    from keras_compress.functional.low_rank import truncated_svd

    inputs, outputs, rank = (512, 256, 8) if args.smoke else FC1
    random = np.random.default_rng(0)
    # Noise, of the flattest spectrum there is, and a signal that decays as trained
    # kernels do.
    matrix = random.standard_normal((inputs, outputs)).astype("float32")
    decay = (np.arange(1, outputs + 1) ** -0.5).astype("float32")
    matrix = (
        matrix
        * decay
        @ np.linalg.qr(random.standard_normal((outputs, outputs)))[0].astype("float32")
    )
    start = time.perf_counter()
    u, s, vt = truncated_svd(matrix, rank, exact=False)
    fast = time.perf_counter() - start
    start = time.perf_counter()
    values = np.linalg.svd(matrix, full_matrices=False)[1]
    full = time.perf_counter() - start
    error = np.linalg.norm(matrix - u * s @ vt)
    best = np.linalg.norm(values[rank:].astype("float64"))
    yield {
        "layer": f"{inputs}x{outputs}",
        "rank": rank,
        "full s": full,
        "randomised s": fast,
        "ratio": full / fast,
        "error / best": float(error / best),
    }


RUNS = {"products": products, "convolutions": convolutions, "svd": svd}


def main():
    args = arguments()
    prepared(args.threads)
    from tabulate import tabulate

    facts = conditions()
    if args.smoke:
        args.rounds, args.part = 1, list(RUNS)
    for part in args.part:
        rows = []
        for row in RUNS[part](args):
            rows.append(row)
            append(args.json, row | facts)
        print(tabulate(rows, headers="keys", floatfmt=".2f"), flush=True)
        print()


if __name__ == "__main__":
    main()
