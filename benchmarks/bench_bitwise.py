"""Products of packed signs against float products, side by side in one process.

    taskset -c 1 python benchmarks/bench_bitwise.py

Float32 in, float32 out: packing the inputs is part of it. `share` is that of the
roofline of an XOR, a popcount and an addition for every 32 weights, measured here. With
`--threads 2`, `alone` is the kernel on one thread, in turns with that on two.
See README.md beside this file for what the other columns count.
"""

import ctypes

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

SHAPES = [(784, 1024), (1024, 1024), (2048, 2048), (4096, 4096), (4096, 16384)]
BATCHES = [1, 16, 64, 256, 1024]


def arguments():
    parser = bench_parser(__doc__, rounds=11)
    parser.add_argument("--levels", action="store_true", help="every SIMD level")
    parser.add_argument("--batch", type=int, help="this batch alone")
    parser.add_argument("--inputs", type=int, help="shapes of so many inputs alone")
    parser.add_argument("--kernel-only", action="store_true", help="no ops of ours")
    return parser.parse_args()


class Layer(ctypes.Structure):
    """`KcXnorLayer` of xnor_api.h."""

    _fields_ = (
        ("inputs", ctypes.c_int64),
        ("units", ctypes.c_int64),
        ("signs", ctypes.c_void_p),
        ("masks", ctypes.c_void_p),
        ("kept", ctypes.c_void_p),
        ("scale", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("thresholds", ctypes.c_void_p),
        ("flips", ctypes.c_void_p),
        ("output", ctypes.c_int64),
    )


class Kernel(Library):
    """The library's C functions, with the arguments made ready beforehand."""

    def call(self, inputs, width, weights, bias, outputs):
        """Floats where outputs are floats, else bits."""
        import numpy as np

        packed = inputs.dtype == np.uint32
        arrays = [array if array.size else None for array in weights]
        signs, masks, kept = (a if a is None else a.ctypes.data for a in arrays)
        units = len(weights[2])
        limits = np.zeros(units, np.int32)
        floats = outputs.dtype == np.float32
        layer = Layer(
            width,
            units,
            signs,
            masks,
            kept,
            None,
            bias.ctypes.data,
            limits.ctypes.data,
            limits.ctypes.data,
            0 if floats else 2,
        )
        ready = (
            ctypes.byref(layer),
            ctypes.c_int64(1),
            int(packed),
            ctypes.c_void_p(inputs.ctypes.data),
            ctypes.c_int64(len(inputs)),
            ctypes.c_void_p(outputs.ctypes.data),
        )
        function = self.library.kc_xnor_chain
        keep = (inputs, weights, bias, outputs, limits, layer)
        return lambda: function(*ready) and keep


def roofline(kernel):
    """Multiply-adds in a microsecond of one thread, operands in the first cache."""
    import numpy as np

    from keras_compress.functional import signs

    random = np.random.default_rng(0)
    matrix = random.standard_normal((4096, 64)).astype(np.float32)
    weights = [aligned(array) for array in signs.pack_kernel(matrix)]
    rows = aligned(signs.pack_signs(random.standard_normal((16, 4096))))
    outputs = aligned(np.zeros((16, 2), np.uint32))
    bias = np.zeros(64, np.float32)
    kernel.library.kc_set_threads(1)
    call = kernel.call(rows, 4096, weights, bias, outputs)
    return 16 * 64 * 4096 / min(interleaved([call], 1)[0] for _ in range(50))


def row(args, kernel, shape, batch):
    import numpy as np
    import tensorflow as tf

    from keras_compress import ops
    from keras_compress.functional import signs

    random = np.random.default_rng(0)
    matrix = random.standard_normal(shape).astype(np.float32)
    bias = aligned(random.standard_normal(shape[1]).astype(np.float32))
    inputs = aligned(random.standard_normal((batch, shape[0])).astype(np.float32))
    outputs = aligned(np.zeros((batch, shape[1]), np.float32))
    bits = aligned(np.zeros((batch, -(-shape[1] // 32)), np.uint32))
    weights = [aligned(array) for array in signs.pack_kernel(matrix)]
    dropped = random.random(shape) < 0.5
    ternary = [aligned(array) for array in signs.pack_kernel(matrix, dropped)]
    packed = aligned(signs.pack_signs(inputs))
    kernel.library.kc_set_threads(args.threads)

    native = kernel.call(inputs, shape[0], weights, bias, outputs)
    columns = {}
    if args.levels:
        for level in kernel.levels():
            columns[kernel.name(level)] = lambda level=level: (
                kernel.library.kc_set_level(level),
                native(),
            )
    else:
        columns["kernel"] = native
        columns["product"] = kernel.call(packed, shape[0], weights, bias, outputs)
        columns["ternary"] = kernel.call(inputs, shape[0], ternary, bias, outputs)
        columns["bits"] = kernel.call(packed, shape[0], weights, bias, bits)
        if args.threads > 1:
            columns["alone"] = lambda: (
                kernel.library.kc_set_threads(1),
                native(),
                kernel.library.kc_set_threads(args.threads),
            )
    x, w, b = (tf.constant(array) for array in (inputs, matrix, bias))

    def floats(x, w):
        return tf.nn.bias_add(tf.matmul(x, w), b)

    columns["tf"] = chained(floats, x, [w])
    if not args.kernel_only:
        columns["op"] = chained(
            lambda x, *w: ops.xnor_matmul(x, *w, bias=b), x, weights
        )
        fixed = [tf.constant(array) for array in weights]
        columns["op eager"] = lambda: ops.xnor_matmul(x, *fixed, bias=b)
        columns["tf eager"] = lambda: floats(x, w)
    rounds = args.rounds if batch * shape[0] * shape[1] < 2**33 else 3
    times = interleaved(list(columns.values()), min(args.rounds, rounds), warm=True)
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
    if args.inputs:
        shapes = [shape for shape in shapes if shape[0] == args.inputs]
    batches = [1, 16] if args.smoke else BATCHES
    if args.batch:
        batches = [args.batch]
    limit = roofline(kernel)
    facts = conditions() | {"threads": args.threads, "roofline": limit}
    print(facts)
    rows = []
    for shape in shapes:
        for batch in batches:
            found = row(args, kernel, shape, batch)
            line = {"shape": "{}x{}".format(*shape), "batch": batch}
            line |= {f"{name} us": time for name, time in found.items()}
            best = found.get("kernel", found.get(kernel.name(kernel.best)))
            line["tf / kernel"] = found["tf"] / best
            if "product" in found:
                work = shape[0] * shape[1] * batch
                line["share"] = work / found["product"] / limit / args.threads
                line["ternary / kernel"] = found["ternary"] / found["kernel"]
            if "alone" in found:
                line["alone / kernel"] = found["alone"] / found["kernel"]
            if "op" in found:
                line["tf / op"] = found["tf"] / found["op"]
                line["eager"] = found["tf eager"] / found["op eager"]
            rows.append(line)
            append(args.json, line | facts)
    print(tabulate(rows, headers="keys", floatfmt=".2f"))


if __name__ == "__main__":
    main()
