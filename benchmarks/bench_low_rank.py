"""Low-rank layers against whole ones in TensorFlow, side by side in one process.

    taskset -c 1 python benchmarks/bench_low_rank.py
    taskset -c 1 python benchmarks/bench_low_rank.py --part convolutions

`ratio` is the time of the whole layer over that of its factors, `possible` that of
their multiply-adds, which is that of their bytes, too. A product is counted in a
`tf.function`, 32 one after another, divided by 32. `pays` is what `pack` goes by.
`--part svd` times the decompositions: the randomised SVD of VGG-16's fc1 against
LAPACK's, and its error against the best.
"""

import argparse
import time

from turns import CHAIN, append, chained, conditions, interleaved, prepared

SHAPES = [(784, 300), (784, 1024), (1024, 1024), (4096, 4096)]
BATCHES = [1, 16, 64, 256]
# Parts of the smaller side; the last two are near where factors stop paying.
PARTS = [16, 8, 4, 3, 2.2]
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
    return parser.parse_args()


def products(args):
    import numpy as np
    import tensorflow as tf

    from keras_compress.functional.ranks import factors_pay

    random = np.random.default_rng(0)
    shapes = [tuple(args.shape)] if args.shape else SHAPES
    for shape in shapes[:1] if args.smoke else shapes:
        for batch in args.batches[:1] if args.smoke else args.batches:
            inputs = random.standard_normal((batch, shape[0])).astype("float32")
            bias = tf.constant(random.standard_normal(shape[1]), tf.float32)

            def dense(x, w, b=bias):
                return tf.nn.bias_add(tf.matmul(x, w), b)

            def two(x, left, right, b=bias):
                return tf.nn.bias_add(tf.matmul(tf.matmul(x, left), right), b)

            ranks = [max(1, int(min(shape) / part)) for part in PARTS]
            runs = [chained(dense, inputs, [random.random(shape, "float32")])]
            for rank in ranks:
                sides = (shape[0], rank), (rank, shape[1])
                factors = [random.random(side, "float32") for side in sides]
                runs.append(chained(two, inputs, factors))
            times = [taken / CHAIN for taken in interleaved(runs, args.rounds, 2e-3)]
            for rank, taken in zip(ranks, times[1:], strict=True):
                possible = shape[0] * shape[1] / (rank * sum(shape))
                row = {"layer": "{}x{}".format(*shape), "batch": batch, "rank": rank}
                row |= {"dense us": times[0], "factors us": taken}
                row |= {"ratio": times[0] / taken, "possible": possible}
                row["share"] = row["ratio"] / possible
                yield row | {"pays": factors_pay(*shape, rank, batch)}


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
