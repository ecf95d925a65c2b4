"""A whole packed network at batch 1 against the same float Keras model, called eagerly.

    python benchmarks/bench_bitwise_network.py --core 1

784-1024-1024-10 by default. What a user can call, from the slowest to the fastest:

| column        | is a call of                                                        |
| ------------- | ------------------------------------------------------------------- |
| `keras`       | the float Keras model, with `relu`                                  |
| `keras graph` | the same in a `tf.function`                                         |
| `packed`      | the packed Keras model                                              |
| `graph`       | the same in a `tf.function`                                         |
| `layer`       | its one layer                                                       |
| `op`          | `ops.xnor_chain` on tensors of the weights                          |
| `function`    | `layer.as_function()`: that op, with all but the inputs made ready  |
| `kernel`      | the C function of the chain, through `ctypes`                       |
| `kernels`     | those of the layers one by one, summed up                           |
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


def arguments():
    parser = bench_parser(__doc__, rounds=15, smoke="one round")
    parser.add_argument("--batch", type=int, nargs="+", default=[1])
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[784, 1024, 1024, 10], help="of layers"
    )
    parser.add_argument("--inputs", default="sign", help="sign, bipolar, ...")
    return parser.parse_args()


def networks(sizes, inputs):
    """The float model and the packed one, of random weights."""
    import keras
    import numpy as np

    import keras_compress as kc

    random = np.random.default_rng(0)
    floats, bits = ([keras.Input((sizes[0],))] for _ in range(2))
    for i, units in enumerate(sizes[1:], 1):
        last = i == len(sizes) - 1
        floats.append(keras.layers.Dense(units, None if last else "relu"))
        coding = inputs if i == 1 else "sign"
        bits.append(kc.layers.BitwiseDense(units, inputs=coding))
        if not last:
            bits += [keras.layers.BatchNormalization(), kc.layers.BitwiseActivation()]
    floats, bits = keras.Sequential(floats), keras.Sequential(bits)
    for layer in bits.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            for variable in layer.variables:
                variable.assign(0.5 + random.random(variable.shape))
        else:
            layer.binarize()
    return floats, bits, kc.pack(bits)


def chain_kernel(kernel, members, inputs):
    """The C function on all layers, and on each alone: functions, and the outputs."""
    import numpy as np

    layers, held, alone = (Layer * len(members))(), [], []
    rows = aligned(inputs)
    for i, member in enumerate(members):
        arrays = [aligned(np.asarray(x)) for x in member.weights_of_op()]
        bits = member.outputs == "bits"
        ends = member.limits_of_op() if bits else (member.bias,)
        ends = [aligned(np.asarray(x)) for x in ends]
        signs, masks, kept = (x.ctypes.data if x.size else None for x in arrays)
        limits = [x.ctypes.data for x in ends] if bits else [None, None]
        bias = None if bits else ends[0].ctypes.data
        width = member.row_width()
        fields = (width, member.units, signs, masks, kept, None, bias, *limits)
        layers[i] = Layer(*fields, 2 if bits else 0)
        held += [arrays, ends]
    function = kernel.library.kc_xnor_chain

    def call(first, count, packed, given):
        last = members[first + count - 1]
        length = last.output_length(last.units)
        dtype = np.uint32 if last.outputs == "bits" else np.float32
        outputs = aligned(np.zeros((len(inputs), length), dtype))
        ready = (
            ctypes.byref(layers, first * ctypes.sizeof(Layer)),
            ctypes.c_int64(count),
            packed,
            ctypes.c_void_p(given.ctypes.data),
            ctypes.c_int64(len(inputs)),
            ctypes.c_void_p(outputs.ctypes.data),
        )
        keep = (layers, held, given, outputs)
        return (lambda: function(*ready) and keep), outputs

    whole, found = call(0, len(members), 0, rows)
    for i in range(len(members)):
        one, rows = call(i, 1, int(i > 0), rows)
        one()
        alone.append(one)
    return whole, alone, found


def row(args, kernel, models, batch):
    import numpy as np
    import tensorflow as tf

    from keras_compress import ops

    floats, trained, packed = models
    random = np.random.default_rng(1)
    low = -1.0 if args.inputs == "sign" else 0.0
    inputs = random.uniform(low, 1.0, (batch, args.sizes[0])).astype(np.float32)
    x = tf.constant(inputs)
    layer = packed.layers[-1]
    members = layer.members
    weights = [member.weights_of_op() for member in members]
    limits = [member.limits_of_op() for member in members[:-1]]
    end = members[-1].end_of_op()
    function = layer.as_function()
    float_graph, graph = tf.function(floats), tf.function(packed)
    columns = {
        "keras": lambda: floats(x),
        "keras graph": lambda: float_graph(x),
        "packed": lambda: packed(x),
        "graph": lambda: graph(x),
        "layer": lambda: layer(x),
        "op": lambda: ops.xnor_chain(members[0].rows(x), weights, limits, **end),
        "function": lambda: function(x),
    }
    coded = members[0].rows(x).numpy()
    columns["kernel"], alone, outputs = chain_kernel(kernel, members, coded)
    columns["kernel"]()
    np.testing.assert_array_equal(outputs, trained(x))
    np.testing.assert_array_equal(function(x), trained(x))
    columns |= {f"kernel {i}": one for i, one in enumerate(alone)}
    # Longer turns than for kernels: threads of TensorFlow's that a graph woke go on
    # looking for work for a while, on the one core that there is.
    found = interleaved(list(columns.values()), args.rounds, budget=2e-3)
    times = dict(zip(columns, found, strict=True))
    times["kernels"] = sum(times.pop(f"kernel {i}") for i in range(len(alone)))
    return times


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
    facts = conditions() | {"threads": args.threads, "inputs": args.inputs}
    facts["sizes"] = "-".join(map(str, args.sizes))
    print(facts)
    models = networks(args.sizes, args.inputs)
    rows = []
    for batch in args.batch:
        times = row(args, kernel, models, batch)
        line = {"batch": batch} | {f"{name} us": us for name, us in times.items()}
        for name in ("packed", "layer", "op", "function"):
            line[f"keras / {name}"] = times["keras"] / times[name]
        line["8 + 1.5 kernels"] = 8 + 1.5 * times["kernels"]
        rows.append(line)
        append(args.json, line | facts)
    table = {name: [line[name] for line in rows] for name in rows[0]}
    print(tabulate([[name, *values] for name, values in table.items()], floatfmt=".2f"))


if __name__ == "__main__":
    main()
