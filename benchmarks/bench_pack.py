"""Is what `pack` keeps ever slower than the dense layer? Side by side in one process.

    python benchmarks/bench_pack.py --core 1

Layers with zeros anywhere and in blocks of 1 x 16, packed for the batch that then
comes: the form that was chosen, and the time of the dense layer over its time, both
chained in a graph as layers of Keras. Where `pack` keeps a layer dense there is nothing
to compare. The last line is the least of all ratios.
"""

import time

from turns import (
    CHAIN,
    append,
    bench_parser,
    chained,
    conditions,
    interleaved,
    prepared,
)

SHAPES = [(784, 300), (1024, 1024), (4096, 4096)]
ZEROS = [0.1, 0.2, 0.3, 0.5, 0.7, 0.9]
BATCHES = [1, 16, 64]
PATTERNS = [None, (1, 16)]


def arguments():
    parser = bench_parser(__doc__, rounds=9)
    parser.add_argument("--zeros", nargs="+", type=float, default=ZEROS)
    parser.add_argument("--batches", nargs="+", type=int, default=BATCHES)
    parser.add_argument("--inputs", type=int, help="shapes of so many inputs alone")
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="count the time of this process alone, where others want the machine, too",
    )
    return parser.parse_args()


def row(args, shape, pattern, batch, zeros):
    import keras
    import numpy as np
    import tensorflow as tf

    import keras_compress as kc

    keras.utils.set_random_seed(0)
    dense = keras.Sequential([keras.Input(shape[:1]), keras.layers.Dense(shape[1])])
    small = kc.swap(dense, kc.Prune(pattern=pattern))
    small.layers[0].prune(sparsity=zeros)
    packed = kc.pack(small, batch=batch).layers[0]
    found = {"shape": f"{shape[0]}x{shape[1]}", "batch": batch}
    found |= {"pattern": "1x16" if pattern else "any", "zeros": zeros}
    # What stays dense is a layer of Keras, with the zeros in it.
    if type(packed) is keras.layers.Dense:
        return found | {"form": "dense"}
    rows = np.random.default_rng(0).standard_normal((batch, shape[0]))
    x = tf.constant(rows.astype("float32"))
    layers = [dense.layers[0], packed]
    columns = [chained(lambda x, layer=layer: layer(x), x, []) for layer in layers]
    clock = time.process_time if args.cpu_time else time.perf_counter
    times = [
        taken / CHAIN
        for taken in interleaved(columns, args.rounds, clock=clock, warm=True)
    ]
    return found | {
        "form": packed.layout,
        "dense us": times[0],
        "packed us": times[1],
        "ratio": times[0] / times[1],
    }


def main():
    args = arguments()
    prepared(args.threads, args.core)
    from tabulate import tabulate

    from keras_compress import ops

    print(ops.native_status())
    facts = conditions() | {"threads": args.threads}
    print(facts)
    shapes = [s for s in SHAPES if args.inputs in (None, s[0])]
    cases = [
        (shape, pattern, batch, zeros)
        for shape in shapes
        for pattern in PATTERNS
        for batch in args.batches
        for zeros in args.zeros
    ]
    if args.smoke:
        cases, args.rounds = cases[3:4], 1
    table = []
    for case in cases:
        table.append(row(args, *case))
        if args.json:
            append(args.json, table[-1] | facts)
    print(tabulate(table, "keys", floatfmt=".2f"))
    measured = [line for line in table if "ratio" in line]
    if measured:
        print("least ratio:", min(measured, key=lambda line: line["ratio"]))


if __name__ == "__main__":
    main()
