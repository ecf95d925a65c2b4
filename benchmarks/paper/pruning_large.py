"""AlexNet and VGG-16 at full size: Han's totals by `kc.report`, and what packing takes.

    python benchmarks/paper/pruning_large.py --net vgg-16 --log pruning_large.jsonl

The weights are random: nothing here is about accuracy. Each layer is pruned to the
density that Han's table has for it, and its bias is set so that as many of its outputs,
as the next layer reads them, are not zero on a random image as the table says ("Act%").
Weights, FLOP, both shares and the totals then come out of `kc.report`. Han's numbers
stand beside them, in per cent, FLOP being two a multiply-add. Each network runs in a
process of its own, whose largest memory counts.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time

# Layer: filters, window, stride, groups, then Han's Act%, Weights% and FLOP%.
ALEXNET = [
    ("conv1", 96, 11, 4, 1, 88, 84, 84),
    ("pool",),
    ("conv2", 256, 5, 1, 2, 52, 38, 33),
    ("pool",),
    ("conv3", 384, 3, 1, 1, 37, 35, 18),
    ("conv4", 384, 3, 1, 2, 40, 37, 14),
    ("conv5", 256, 3, 1, 2, 34, 37, 14),
    ("pool",),
    ("fc1", 4096, 36, 9, 3),
    ("fc2", 4096, 40, 9, 3),
    ("fc3", 1000, 100, 25, 10),
]
VGG = [
    ("conv1_1", 64, 3, 1, 1, 53, 58, 58),
    ("conv1_2", 64, 3, 1, 1, 89, 22, 12),
    ("pool",),
    ("conv2_1", 128, 3, 1, 1, 80, 34, 30),
    ("conv2_2", 128, 3, 1, 1, 81, 36, 29),
    ("pool",),
    ("conv3_1", 256, 3, 1, 1, 68, 53, 43),
    ("conv3_2", 256, 3, 1, 1, 70, 24, 16),
    ("conv3_3", 256, 3, 1, 1, 64, 42, 29),
    ("pool",),
    ("conv4_1", 512, 3, 1, 1, 51, 32, 21),
    ("conv4_2", 512, 3, 1, 1, 45, 27, 14),
    ("conv4_3", 512, 3, 1, 1, 34, 34, 15),
    ("pool",),
    ("conv5_1", 512, 3, 1, 1, 32, 35, 12),
    ("conv5_2", 512, 3, 1, 1, 29, 29, 9),
    ("conv5_3", 512, 3, 1, 1, 19, 36, 11),
    ("pool",),
    ("fc6", 4096, 38, 4, 1),
    ("fc7", 4096, 42, 4, 2),
    ("fc8", 1000, 100, 23, 9),
]
NETS = {  # layers, side of the image, window of the pooling, and Han's totals
    "alexnet": (ALEXNET, 227, 3, {"weights": 61e6, "flop": 1.5e9, "kept": (11, 30)}),
    "vgg-16": (VGG, 224, 2, {"weights": 138e6, "flop": 30.9e9, "kept": (7.5, 21)}),
}


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--net", choices=[*NETS, "all"], default="all")
    add("--smoke", action="store_true", help="a sixteenth of the units, small images")
    add("--seed", type=int, default=1)
    add("--threads", type=int, default=1, help="of TensorFlow")
    add("--log", metavar="FILE", default="pruning_large.jsonl")
    return parser.parse_args()


def network(args):
    import keras
    from keras import layers

    rows, side, window, _ = NETS[args.net]
    side, share = (67 if side == 227 else 64, 16) if args.smoke else (side, 1)
    stack, flat = [keras.Input((side, side, 3))], False
    for name, *numbers in rows:
        if name == "pool":
            stack.append(layers.MaxPooling2D(window, 2))
        elif len(numbers) == 7:
            filters, size, stride, groups = numbers[:4]
            padding = "valid" if stride > 1 else "same"
            stack.append(
                layers.Conv2D(
                    *(filters // share, size, stride, padding),
                    groups=groups,
                    kernel_initializer="he_normal",
                    name=name,
                )
            )
            stack.append(layers.ReLU())
        else:
            stack += [] if flat else [layers.Flatten()]
            flat, last = True, numbers[0] == 1000
            units = numbers[0] // share
            stack.append(layers.Dense(units, kernel_initializer="he_normal", name=name))
            stack += [] if last else [layers.ReLU()]
    return keras.Sequential(stack, name=args.net.replace("-", "_"))


def table(args):
    """By the name of the layer, Han's Act%, Weights% and FLOP%."""
    return {row[0]: row[-3:] for row in NETS[args.net][0] if row[0] != "pool"}


def prune(model, published):
    for layer in model.layers:
        if layer.name in published:
            layer.prune(sparsity=1 - published[layer.name][1] / 100)


def set_activations(model, image, published):
    """Moves each bias so that the share of Act% of what is read next is not zero."""
    import numpy as np
    from keras import layers

    x, pending = image, list(model.layers)
    while pending:
        layer = pending.pop(0)
        x = layer(x)
        if layer.name not in published or published[layer.name][0] == 100:
            continue
        read = x  # the largest before the ReLU is the largest behind it
        if len(pending) > 1 and isinstance(pending[1], layers.MaxPooling2D):
            read = pending[1](x)
        cut = float(np.quantile(read, 1 - published[layer.name][0] / 100))
        layer.bias.assign(layer.bias - cut)
        x = x - cut


def run(args):
    import keras
    import numpy as np
    import tensorflow as tf

    import keras_compress as kc

    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    tf.config.threading.set_inter_op_parallelism_threads(args.threads)
    keras.utils.set_random_seed(args.seed)
    published, seconds = table(args), {}

    def timed(name, call, *arguments, **keywords):
        start = time.perf_counter()
        found = call(*arguments, **keywords)
        seconds[name] = time.perf_counter() - start
        return found

    model = timed("build", network, args)
    small = timed("swap", kc.swap, model, kc.Prune())
    del model
    timed("prune", prune, small, published)
    image = np.random.default_rng(args.seed).standard_normal(
        (1, *small.input_shape[1:])
    )
    image = image.astype("float32")
    set_activations(small, image, published)
    report = timed("report", kc.report, small, activations=image)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    packed = timed("pack", kc.pack, small)
    scores, expected = np.asarray(packed(image)), np.asarray(small(image))
    difference = float(np.abs(scores - expected).max() / np.abs(expected).max())
    cost, after = report.models[0], kc.report(packed).models[0]
    rows = []
    for layer in [*(x for x in cost.layers if x.weights), cost]:
        han = published.get(layer.name, (None, *NETS[args.net][3]["kept"]))
        rows.append(
            {
                "layer": "total" if layer is cost else layer.name,
                "weights": layer.weights,
                "flop": 2 * layer.multiply_adds,
                "kept": 100 * (1 - layer.sparsity),
                "Han's": han[1],
                "flop_kept": 100 * layer.remaining_work,
                "Han's ": han[2],
            }
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "net": args.net,
        "smoke": args.smoke,
        "seed": args.seed,
        "threads": args.threads,
        "parameters": cost.parameters,
        "seconds": seconds,
        "peak_mb_before_pack": before,
        "peak_mb": peak,
        "memory_mb": cost.memory_bytes / 1e6,
        "packed_mb": after.memory_bytes / 1e6,
        "relative_difference": difference,
        "table": rows,
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "native": kc.native_status().partition(",")[0],
    }


def main():
    args = arguments()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if args.net == "all":
        for net in NETS:
            subprocess.run([sys.executable, *sys.argv, "--net", net], check=True)
        return
    from tabulate import tabulate

    row = run(args)
    with open(args.log, "a") as file:
        print(json.dumps(row), file=file)
    print(tabulate(row["table"], "keys", tablefmt="github", floatfmt=".1f"))
    shown = {name: row[name] for name in row if name not in ("table", "seconds")}
    print(json.dumps(shown))
    print({name: round(value, 2) for name, value in row["seconds"].items()})


if __name__ == "__main__":
    main()
