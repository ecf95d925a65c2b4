"""Convolutions by sparse kernels against dense ones, side by side in one process.

    python benchmarks/bench_sparse_conv.py --core 1

`same` padding, stride 1, as many filters as channels. Zeros lie anywhere (`csc`), or in
blocks of one input by 16 filters (`panel16`); both ops, and TensorFlow's convolution,
in a graph; the median of each.
"""

from bench_sparse import pruned
from turns import (
    append,
    bench_parser,
    chained,
    conditions,
    interleaved,
    prepared,
)

IMAGES = [(56, 64), (28, 128), (14, 256), (7, 512)]
WINDOWS = [3, 1]
SPARSITIES = [0.5, 0.8, 0.9, 0.95]
LAYOUTS = ("csc", "panel16")


def arguments():
    parser = bench_parser(__doc__, rounds=11)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--window", nargs="*", type=int, default=WINDOWS)
    parser.add_argument("--zeros", nargs="*", type=float, default=SPARSITIES)
    return parser.parse_args()


def row(args, size, channels, window, sparsity):
    import numpy as np
    import tensorflow as tf

    from keras_compress import ops
    from keras_compress.functional import sparse

    random = np.random.default_rng(1)
    images = random.standard_normal((args.batch, size, size, channels)).astype("f")
    bias = tf.constant(random.standard_normal(channels).astype("f"))
    shape = (window * window * channels, channels)
    dense = pruned(shape, sparsity, blocks=False)
    work = args.batch * size * size * shape[0] * shape[1]
    length = int(max(2, min(32, 1e9 / work)))

    def convolved(x, kernel):
        return tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "SAME"), bias)

    kernel = dense.reshape(window, window, channels, channels)
    columns = {"tf": chained(convolved, images, [kernel], length)}
    for layout in LAYOUTS:

        def product(x, *weights, layout=layout):
            return ops.sparse_conv2d(
                *(x, weights, bias),
                kernel_size=window,
                padding="same",
                layout=layout,
            )

        matrix = pruned(shape, sparsity, blocks=layout == "panel16")
        arrays = sparse.compress(matrix, layout)
        columns[layout] = chained(product, images, arrays, length)
    times = interleaved(list(columns.values()), args.rounds)
    return {
        name: time / length for name, time in zip(columns, times, strict=True)
    }, work


def main():
    args = arguments()
    prepared(args.threads, args.core)
    from tabulate import tabulate

    from keras_compress import ops

    print(ops.native_status())
    images = IMAGES
    if args.smoke:
        args.rounds, args.zeros, images = 1, [0.9], IMAGES[-1:]
    facts = conditions() | {"threads": args.threads}
    print(facts)
    rows = []
    for window in args.window:
        for size, channels in images:
            for sparsity in args.zeros:
                found, work = row(args, size, channels, window, sparsity)
                line = {"images": f"{args.batch}x{size}x{size}x{channels}"}
                line |= {"window": f"{window}x{window}", "zeros": sparsity}
                line |= {f"{name} us": time for name, time in found.items()}
                line["tf Gmac/s"] = work / found["tf"] / 1e3
                for layout in LAYOUTS:
                    line[f"tf / {layout}"] = found["tf"] / found[layout]
                rows.append(line)
                append(args.json, line | facts)
    print(tabulate(rows, headers="keys", floatfmt=".2f"))


if __name__ == "__main__":
    main()
