"""Products of integers against float products, side by side in one process.

    taskset -c 1 python benchmarks/bench_fixed_point.py

Float32 in, float32 out: quantizing the inputs is part of it. `int8` and `int4` have
inputs of 8 bits, `w8a16` has inputs of 16 bits and weights of 8, `w16a16` both of 16;
asked for by `--only`, `w8a7` and `w4a7` have inputs of 7 bits;
`blocks` has int8 weights of which 90 % are zeros (`--sparsity`), in blocks of 4 inputs
by 16 units; `codes` takes and gives bytes, as a hidden layer of a packed model does.
`tf` is a float32 matmul and bias, `keras int8` a `Dense` that Keras itself has
quantized, in a graph like `op`. See README.md beside this file for what the other
columns count, and `peers/integers.py` for LiteRT and ONNX Runtime.
"""

import ctypes
import time

from turns import (
    CHAIN,
    Library,
    aligned,
    append,
    bench_parser,
    chained,
    conditions,
    interleaved,
    prepared,
)

SHAPES = [(784, 300), (784, 1024), (1024, 1024), (4096, 4096)]
BATCHES = [1, 16, 64, 256]
KINDS = {"float32": 0, "int8": 2}
OURS = ("int8", "int4", "blocks", "w8a16", "w16a16", "codes", "op", "blocks op")


def arguments():
    parser = bench_parser(__doc__, rounds=11)
    parser.add_argument(
        "--levels",
        nargs="*",
        metavar="LEVEL",
        help="int8, or what --only says, at these SIMD levels; without any, at all",
    )
    parser.add_argument("--batch", type=int, help="this batch alone")
    parser.add_argument(
        "--warm", action="store_true", help="each turn begins with an untimed call"
    )
    parser.add_argument("--sparsity", type=float, default=0.9, help="of blocks")
    parser.add_argument("--only", nargs="+", metavar="COLUMN", help="these of ours")
    parser.add_argument("--inputs", type=int, help="shapes of so many inputs alone")
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="count the time of this process alone, where others want the machine, too",
    )
    parser.add_argument("--kernel-only", action="store_true", help="no ops of ours")
    return parser.parse_args()


class Product(ctypes.Structure):
    """`KcIntegerProduct` of integer_api.h."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("inputs", "units", "bits")),
        *((name, ctypes.c_void_p) for name in ("panels", "column_sums", "bias")),
        *((name, ctypes.c_int64) for name in ("row_kind", "fraction")),
        *((name, ctypes.c_int64) for name in ("low", "high", "rounding")),
        *((name, ctypes.c_int64) for name in ("output_kind", "requantize")),
        *((f"output_{name}", ctypes.c_int64) for name in ("low", "high", "rounding")),
        *((name, ctypes.c_void_p) for name in ("shifts", "scales")),
        ("blocks", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("indices", "starts")),
    )


class Layer:
    """Weights of so many bits, as the kernel and the op take them."""

    def __init__(self, matrix, bits, fraction, limits, in_blocks=False):
        import numpy as np

        from keras_compress.functional import integer_blocks, integers

        top = 2 ** (bits - 1) - 1
        step = np.abs(matrix).max() / top
        codes = np.rint(matrix / step).astype(np.int64)
        units = codes.shape[1]
        self.bits, self.fraction, self.limits = bits, fraction, limits
        self.where = ()
        if in_blocks:
            blocks, *where = integer_blocks.pack_blocks(codes)
            self.panels = aligned(blocks)
            self.where = [aligned(array) for array in where]
        else:
            self.panels = aligned(integers.pack_panels(codes, bits))
        self.sums = aligned(codes.sum(axis=0).astype(np.int32))
        self.bias = aligned(np.arange(units, dtype=np.int32))
        self.shifts = np.full(units, 12, np.int32)
        self.scales = np.full(units, 2.0**-12, np.float32)
        self.shape = codes.shape

    def call(self, library, rows, outputs):
        arrays = (self.panels, self.sums, self.bias)
        product = Product(
            *self.shape,
            self.bits,
            *(array.ctypes.data for array in arrays),
            KINDS[str(rows.dtype)],
            *(self.fraction, *self.limits, 0),
            *(KINDS[str(outputs.dtype)], int(outputs.dtype != "float32")),
            *(-128, 127, 0),
            *(array.ctypes.data for array in (self.shifts, self.scales)),
            len(self.panels) if self.where else 0,
            *([array.ctypes.data for array in self.where] or (None, None)),
        )
        ready = (
            ctypes.byref(product),
            ctypes.c_void_p(rows.ctypes.data),
            ctypes.c_int64(len(rows)),
            ctypes.c_void_p(outputs.ctypes.data),
        )
        keep = (self, rows, outputs, product)
        return lambda: library.kc_integer_matmul(*ready) and keep


def quantized_by_keras(matrix, bias):
    import keras

    layer = keras.layers.Dense(matrix.shape[1])
    layer.build((None, len(matrix)))
    layer.set_weights([matrix, bias])
    layer.quantize("int8")
    return lambda x, w: layer(x)


def kept_blocks(random, shape, sparsity):
    """1 where a block of 4 inputs by 16 units stays, else 0."""
    import numpy as np

    blocks = random.random((-(-shape[0] // 4), -(-shape[1] // 16)))
    kept = (blocks >= np.quantile(blocks, sparsity)).astype(np.float32)
    return np.kron(kept, np.ones((4, 16), np.float32))[: shape[0], : shape[1]]


def row(args, library, shape, batch):
    import numpy as np
    import tensorflow as tf

    from keras_compress import ops

    random = np.random.default_rng(0)
    matrix = random.standard_normal(shape).astype(np.float32)
    bias = random.standard_normal(shape[1]).astype(np.float32)
    inputs = aligned(random.standard_normal((batch, shape[0])).astype(np.float32))
    outputs = aligned(np.zeros((batch, shape[1]), np.float32))
    codes = aligned(np.zeros((batch, shape[1]), np.int8))
    given = aligned(np.rint(inputs * 32).clip(-128, 127).astype(np.int8))
    library.kc_set_threads(args.threads)
    blocked = matrix * kept_blocks(random, shape, args.sparsity)
    makers = {
        "int8": (matrix, 8, 5, (-128, 127)),
        "int4": (matrix, 4, 5, (-128, 127)),
        "blocks": (blocked, 8, 5, (-128, 127), True),
        "w8a16": (matrix, 8, 12, (-32768, 32767)),
        "w16a16": (matrix, 16, 12, (-32768, 32767)),
        "w8a7": (matrix, 8, 4, (-64, 63)),
        "w4a7": (matrix, 4, 4, (-64, 63)),
    }
    usual = [name for name in makers if not name.endswith("a7")]
    wanted = set(args.only or usual) | (set() if args.kernel_only else {"blocks"})
    layers = {
        name: Layer(*makers[name]) for name in makers if name in wanted | {"int8"}
    }
    columns = {}
    if args.levels is not None:
        for level in range(library.kc_num_levels()):
            name = library.kc_level_name(level).decode()
            for kind in args.only or ["int8"]:
                native = layers[kind].call(library, inputs, outputs)
                if not args.levels or name in args.levels:
                    columns[f"{kind} {name}"] = lambda level=level, native=native: (
                        library.kc_set_level(level),
                        native(),
                    )
    else:
        for name, layer in layers.items():
            columns[name] = layer.call(library, inputs, outputs)
        columns["codes"] = layers["int8"].call(library, given, codes)
        for name in set(columns) - set(args.only or columns):
            del columns[name]
    x, w, b = (tf.constant(array) for array in (inputs, matrix, bias))

    def floats(x, w):
        return tf.nn.bias_add(tf.matmul(x, w), b)

    columns["tf"] = chained(floats, x, [w])
    if not args.kernel_only and args.levels is None:
        fixed = {"fraction_bits": 5, "limits": (-128, 127), "outputs": "float32"}

        def integers(x, *weights):
            panels, sums, bias, scales, *blocks = weights
            return ops.integer_matmul(
                x,
                panels,
                sums,
                bias,
                input_dim=shape[0],
                scales=scales,
                blocks=blocks or None,
                **fixed,
            )

        for name, layer in (("op", layers["int8"]), ("blocks op", layers["blocks"])):
            arrays = (layer.panels, layer.sums, layer.bias, layer.scales, *layer.where)
            columns[name] = chained(integers, x, arrays)
        layer = layers["int8"]
        arrays = (layer.panels, layer.sums, layer.bias, layer.scales)
        ready = [tf.constant(array) for array in arrays]
        columns["op eager"] = lambda: integers(x, *ready)
        columns["keras int8"] = chained(quantized_by_keras(matrix, bias), x, [w])
        columns["tf eager"] = lambda: floats(x, w)
    clock = time.process_time if args.cpu_time else time.perf_counter
    times = interleaved(
        list(columns.values()), args.rounds, clock=clock, warm=args.warm
    )
    library.kc_set_level(library.kc_num_levels() - 1)
    found = dict(zip(columns, times, strict=True))
    for name in ("op", "blocks op", "tf", "keras int8"):
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
    if not _library.FILE.exists():
        print("Nothing to measure without the native library.")
        return
    library = Library(_library.FILE).library
    if args.smoke:
        args.rounds = 1
    shapes = SHAPES[:1] if args.smoke else SHAPES
    if args.inputs:
        shapes = [shape for shape in shapes if shape[0] == args.inputs]
    batches = [1, 16] if args.smoke else BATCHES
    if args.batch:
        batches = [args.batch]
    facts = conditions() | {"threads": args.threads, "cpu time": args.cpu_time}
    print(facts)
    rows = []
    for shape in shapes:
        for batch in batches:
            found = row(args, library, shape, batch)
            line = {"shape": "{}x{}".format(*shape), "batch": batch}
            line |= {f"{name} us": time for name, time in found.items()}
            for name in found:
                if name in OURS or (args.levels is not None and name != "tf"):
                    line[f"tf / {name}"] = found["tf"] / found[name]
            if "op eager" in found:
                line["keras / op"] = found["keras int8"] / found["op"]
                line["eager"] = found["tf eager"] / found["op eager"]
            rows.append(line)
            append(args.json, line | facts)
    print(tabulate(rows, headers="keys", floatfmt=".2f"))


if __name__ == "__main__":
    main()
