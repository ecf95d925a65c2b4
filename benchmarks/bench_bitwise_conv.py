"""Convolutions of packed signs against float convolutions, side by side in one process.

    taskset -c 1 python benchmarks/bench_bitwise_conv.py

3x3, one image, as many filters as channels, `same` padding. Columns `kernel` are the C
function: from floats to floats with a border of ones and one of zeros, from packed
signs to packed signs, and with half of the weights dropped.
"""

import ctypes

from bench_bitwise import Kernel, Layer
from turns import (
    aligned,
    append,
    bench_parser,
    conditions,
    interleaved,
    prepared,
)

IMAGES = [(56, 64), (28, 128), (14, 256), (7, 512)]


def arguments():
    parser = bench_parser(__doc__, rounds=21)
    parser.add_argument("--batch", type=int, default=1)
    return parser.parse_args()


def call(kernel, images, weights, outputs, channels, zeros):
    """The C function with its arguments made ready."""
    import numpy as np

    packed = images.dtype == np.uint32
    signs, masks, kept = weights
    batch, height, width, _ = images.shape
    filters = len(kept)
    zero = np.zeros(filters, np.int32)
    layer = Layer(
        9 * channels,
        filters,
        signs.ctypes.data,
        masks.ctypes.data if masks.size else None,
        kept.ctypes.data,
        None,
        zero.ctypes.data,
        zero.ctypes.data,
        zero.ctypes.data,
        0 if outputs.dtype == np.float32 else 2,
    )
    sizes = [batch, height, width, channels, 3, 3, 1, 1, 1, 1, 1, 1, height, width]
    geometry = np.array(sizes, np.int64)
    ready = (
        ctypes.byref(layer),
        ctypes.c_void_p(geometry.ctypes.data),
        int(zeros),
        int(packed),
        ctypes.c_void_p(images.ctypes.data),
        ctypes.c_void_p(outputs.ctypes.data),
    )
    keep = images, weights, outputs, zero, layer, geometry
    return lambda: kernel.library.kc_xnor_conv2d(*ready) and keep


def row(args, kernel, size, channels):
    import numpy as np
    import tensorflow as tf

    from keras_compress import ops
    from keras_compress.functional import sign_images, signs

    random = np.random.default_rng(0)
    shape = (args.batch, size, size, channels)
    images = aligned(random.standard_normal(shape).astype(np.float32))
    packed = aligned(signs.pack_signs(images))
    window = random.standard_normal((3, 3, channels, channels)).astype(np.float32)
    dropped = random.random(window.shape) < 0.5
    binary, ternary = (
        [aligned(array) for array in sign_images.pack_conv2d_kernel(window, mask)]
        for mask in (None, dropped)
    )
    floats = aligned(np.zeros(shape, np.float32))
    bits = aligned(np.zeros(packed.shape, np.uint32))
    x, w, b = (tf.constant(a) for a in (images, window, np.zeros(channels, "f")))
    panels = [tf.constant(array) for array in binary]
    columns = {
        "kernel, ones": call(kernel, images, binary, floats, channels, False),
        "kernel, zeros": call(kernel, images, binary, floats, channels, True),
        "kernel, bits": call(kernel, packed, binary, bits, channels, True),
        "kernel, ternary": call(kernel, images, ternary, floats, channels, True),
        "op eager": lambda: ops.xnor_conv2d(
            x, *panels, kernel_size=3, padding="same", bias=b
        ),
        "tf eager": lambda: tf.nn.bias_add(tf.nn.conv2d(x, w, 1, "SAME"), b),
    }
    times = interleaved(list(columns.values()), args.rounds, warm=True)
    return dict(zip(columns, times, strict=True))


def main():
    args = arguments()
    prepared(args.threads, args.core)
    from tabulate import tabulate

    from keras_compress import ops
    from keras_compress.ops import _library

    print(ops.native_status())
    kernel = Kernel(_library.FILE)
    kernel.library.kc_set_threads(args.threads)
    if args.smoke:
        args.rounds = 1
    facts = conditions() | {"threads": args.threads}
    print(facts)
    rows = []
    for size, channels in IMAGES[:1] if args.smoke else IMAGES:
        found = row(args, kernel, size, channels)
        line = {"images": f"{args.batch}x{size}x{size}x{channels}"}
        line |= {f"{name} us": time for name, time in found.items()}
        work = args.batch * size * size * channels * channels * 9
        line["Gmac/s"] = work / found["kernel, ones"] / 1e3
        line["tf / kernel"] = found["tf eager"] / found["kernel, zeros"]
        line["ternary / binary"] = found["kernel, ternary"] / found["kernel, zeros"]
        line["eager"] = found["tf eager"] / found["op eager"]
        rows.append(line)
        append(args.json, line | facts)
    print(tabulate(rows, headers="keys", floatfmt=".2f"))


if __name__ == "__main__":
    main()
