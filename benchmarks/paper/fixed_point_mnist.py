"""MNIST in fixed point: how few fraction bits 784-1024^5-10 does with, and injected.

    python benchmarks/paper/fixed_point_mnist.py --log results.jsonl

The lecture's net has 1.25 % errors in floats, 17.28 % with 3 fraction bits for weights,
27.32 % with 3 for all values and 1.18 % with 4 for all; there are always enough integer
bits. Such a cliff hangs on the scale of the weights: half of that net's are below 0.1,
so weights start that large here, and max-norm holds them. Scores then deviate by
hundreds, of which a softmax learns little: the loss sees them divided by what they
deviate by at the start, the `temperature`. `injected` trains on from the float net with
quantized values and ghosts. Each row is a line of the log: its settings, seed, errors
on the test images and time; `--held-out` keeps training images back and counts errors
on these, to choose settings by. `--plot` draws what the log says.
"""

import json
import os
import time

from digit_runs import digit_parser, load, logger, train

PUBLISHED = {
    ("weights", 3): 17.28,
    ("all", 3): 27.32,
    ("all", 4): 1.18,
}


def arguments():
    parser = digit_parser(__doc__, log="fixed_point_mnist.jsonl")
    add = parser.add_argument
    add("--width", type=int, default=1024)
    add("--depth", type=int, default=5)
    add("--scale", type=float, default=0.148, help="deviation of the first weights")
    add("--epochs", nargs=2, type=int, default=[20, 5], help="float, and injected")
    add("--rates", nargs=2, type=float, default=[3e-3, 1e-3], help="of Adam")
    add("--dropout", nargs=2, type=float, default=[0.1, 0.2], help="inputs, hidden")
    add("--bits", nargs="+", type=int, default=[1, 2, 3, 4, 5, 6])
    add("--inject", nargs="*", type=int, help="of these only; by default of all bits")
    add("--batch", type=int, default=250)
    add("--plot", metavar="PICTURE", help="draw the log and end")
    return parser.parse_args()


def network(args, pixels):
    import keras

    start = keras.initializers.RandomNormal(0, args.scale)
    layers = [keras.Input((pixels,)), keras.layers.Dropout(args.dropout[0])]
    for number in range(args.depth):
        layers.append(
            keras.layers.Dense(
                args.width,
                activation="relu",
                name=f"fc{number + 1}",
                kernel_initializer=start.clone(),
                kernel_constraint=keras.constraints.MaxNorm(
                    args.scale * args.width**0.5
                ),
            )
        )
        layers.append(keras.layers.Dropout(args.dropout[1]))
    layers.append(
        keras.layers.Dense(10, kernel_initializer=start.clone(), name="scores")
    )
    return keras.Sequential(layers)


def formats(bits, values):
    """So many fraction bits for the weights, or for all values."""
    import keras_compress as kc

    q = kc.QFormat(None, bits)
    if values == "weights":
        return kc.FixedPoint(kernel=q, bias=q)
    return kc.FixedPoint(q, q, q, q, q)


def run(args, seed, digits, log):
    import keras
    import numpy as np

    import keras_compress as kc
    from keras_compress.recipes.lenet_300_100 import test_error

    keras.utils.set_random_seed(seed)
    start = time.perf_counter()
    model = network(args, digits.x_train.shape[1])
    temperature = float(np.std(model(digits.x_train[:1000])))

    def loss(labels, scores):
        return keras.losses.sparse_categorical_crossentropy(
            labels, scores / temperature, from_logits=True
        )

    train(args, model, digits, loss, args.epochs[0], args.rates[0])
    weights = np.concatenate(
        [layer.kernel.numpy().ravel() for layer in model.layers if layer.weights]
    )
    median = float(np.median(np.abs(weights)))

    def note(values, bits, injected, found):
        row = {
            "values": values,
            "bits": bits,
            "injected": injected,
            "error": found,
            "published": None if injected else PUBLISHED.get((values, bits)),
            "median weight": median,
            "temperature": temperature,
            "seed": seed,
            "seconds": time.perf_counter() - start,
        }
        log({**settings, **row})

    hidden = ("log", "plot", "smoke", "bits", "inject")
    settings = {name: value for name, value in vars(args).items() if name not in hidden}
    found = test_error(model, digits)
    log({**settings, "values": "float", "error": found, "seed": seed})
    for bits in args.bits:
        for values in ("weights", "all"):
            small = kc.swap(model, formats(bits, values))
            note(values, bits, False, test_error(small, digits))
    for bits in args.bits if args.inject is None else args.inject:
        small = kc.swap(model, formats(bits, "all"))
        noise = kc.callbacks.QuantizationNoise()
        train(args, small, digits, loss, args.epochs[1], args.rates[1], noise)
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
        args.width, args.depth, args.epochs, args.batch = 64, 2, [8, 3], 32
        args.bits, args.inject = [2, 4], [2]
    digits = load(args)
    shown = ("values", "bits", "injected", "error", "published", "seconds")
    log = logger(args.log, shown)
    for seed in args.seeds:
        run(args, seed, digits, log)


if __name__ == "__main__":
    main()
