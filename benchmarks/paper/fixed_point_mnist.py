"""MNIST in fixed point: how few fraction bits 784-1024^5-10 does with, and injected.

    python benchmarks/paper/fixed_point_mnist.py --log results.jsonl

The lecture's net has 1.25 % errors in floats, 17.28 % with 3 fraction bits for weights,
27.32 % with 3 for all values and 1.18 % with 4 for all; there are always enough integer
bits. Such a cliff hangs on the scale of the weights, see `wide_net.py`.

`injected` trains on from the float net with
quantized values and ghosts. Each row is a line of the log: its settings, seed, errors
on the test images and time; `--held-out` keeps training images back and counts errors
on these, to choose settings by. `--plot` draws what the log says.
"""

import json
import os
import time

import wide_net
from digit_runs import digit_parser, load, logger, train

PUBLISHED = {
    ("weights", 3): 17.28,
    ("all", 3): 27.32,
    ("all", 4): 1.18,
}


def arguments():
    parser = digit_parser(__doc__, log="fixed_point_mnist.jsonl")
    wide_net.add_arguments(parser)
    add = parser.add_argument
    add("--train-on", nargs=2, default=[5, 1e-3], help="epochs injected, rate of Adam")
    add("--bits", nargs="+", type=int, default=[1, 2, 3, 4, 5, 6])
    add("--inject", nargs="*", type=int, help="of these only; by default of all bits")
    add("--plot", metavar="PICTURE", help="draw the log and end")
    return parser.parse_args()


def formats(bits, values):
    """So many fraction bits for the weights, or for all values."""
    import keras_compress as kc

    q = kc.QFormat(None, bits)
    if values == "weights":
        return kc.FixedPoint(kernel=q, bias=q)
    return kc.FixedPoint(q, q, q, q, q)


def run(args, seed, digits, log):
    import keras_compress as kc
    from keras_compress.recipes.lenet_300_100 import test_error

    start = time.perf_counter()
    model, loss, facts = wide_net.trained(args, seed, digits)

    def note(values, bits, injected, found):
        row = {
            "values": values,
            "bits": bits,
            "injected": injected,
            "error": found,
            "published": None if injected else PUBLISHED.get((values, bits)),
            **facts,
            "seed": seed,
            "seconds": time.perf_counter() - start,
        }
        log({**settings, **row})

    hidden = ("log", "plot", "smoke", "bits", "inject", "folder")
    settings = {name: value for name, value in vars(args).items() if name not in hidden}
    found = {"values": "float", "error": test_error(model, digits), **facts}
    log({**settings, **found, "seed": seed})
    for bits in args.bits:
        for values in ("weights", "all"):
            small = kc.swap(model, formats(bits, values))
            note(values, bits, False, test_error(small, digits))
    epochs, rate = int(args.train_on[0]), float(args.train_on[1])
    for bits in args.bits if args.inject is None else args.inject:
        small = kc.swap(model, formats(bits, "all"))
        noise = kc.callbacks.QuantizationNoise()
        train(args, small, digits, loss, epochs, rate, noise)
        note("all", bits, True, test_error(small, digits))


def plot(args):
    """Errors over fraction bits, means over the seeds, and the lecture's numbers."""
    from matplotlib import pyplot

    with open(args.log) as file:
        rows = [json.loads(line) for line in file]
    kinds = {("weights", False): "weights", ("all", False): "all values"}
    kinds[("all", True)] = "all values, injected"
    _, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for (values, injected), label in kinds.items():
        found = {}
        for row in rows:
            if row["values"] == values and row.get("injected") == injected:
                found.setdefault(row["bits"], []).append(row["error"])
        bits = sorted(found)
        means = [sum(found[one]) / len(found[one]) for one in bits]
        axes.semilogy(bits, means, marker="o", label=label)
    floats = [row["error"] for row in rows if row["values"] == "float"]
    axes.axhline(sum(floats) / len(floats), color="grey", label="float")
    places = [bits for _, bits in PUBLISHED]
    axes.plot(places, list(PUBLISHED.values()), "k+", label="lecture")
    axes.set_xlabel("fraction bits")
    axes.set_ylabel("test errors in %")
    axes.legend(frameon=False)
    pyplot.savefig(args.plot, dpi=150)


def main():
    args = arguments()
    if args.plot:
        plot(args)
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if args.smoke:
        args.width, args.depth, args.epochs, args.batch = 64, 2, 8, 32
        args.train_on = [3, 1e-3]
        args.bits, args.inject = [2, 4], [2]
    digits = load(args)
    shown = ("values", "bits", "injected", "error", "published", "seconds")
    log = logger(args.log, shown)
    for seed in args.seeds:
        run(args, seed, digits, log)


if __name__ == "__main__":
    main()
