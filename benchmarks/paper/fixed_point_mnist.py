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

import argparse
import dataclasses
import json
import os
import time

PUBLISHED = {
    ("weights", 3): 17.28,
    ("all", 3): 27.32,
    ("all", 4): 1.18,
}


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--smoke", action="store_true", help="small, on the digits of scikit-learn")
    add("--seeds", nargs="+", type=int, default=[1])
    add("--width", type=int, default=1024)
    add("--depth", type=int, default=5)
    add("--scale", type=float, default=0.148, help="deviation of the first weights")
    add("--epochs", nargs=2, type=int, default=[20, 5], help="float, and injected")
    add("--rates", nargs=2, type=float, default=[3e-3, 1e-3], help="of Adam")
    add("--dropout", nargs=2, type=float, default=[0.1, 0.2], help="inputs, hidden")
    add("--bits", nargs="+", type=int, default=[1, 2, 3, 4, 5, 6])
    add("--inject", nargs="*", type=int, help="of these only; by default of all bits")
    add("--batch", type=int, default=250)
    add("--held-out", type=int, default=0, help="training images to count errors on")
    add("--log", metavar="FILE", default="fixed_point_mnist.jsonl")
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


def train(args, model, digits, temperature, epochs, rate, *callbacks):
    import keras

    def loss(labels, scores):
        return keras.losses.sparse_categorical_crossentropy(
            labels, scores / temperature, from_logits=True
        )

    steps = epochs * -(-len(digits.x_train) // args.batch)
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps)),
        loss,
    )
    model.fit(
        *(digits.x_train, digits.y_train),
        batch_size=args.batch,
        epochs=epochs,
        verbose=0,
        callbacks=list(callbacks),
    )


def errors(model, digits):
    import numpy as np

    scores = model.predict(digits.x_test, batch_size=1000, verbose=0)
    return float(100 * np.mean(scores.argmax(axis=-1) != digits.y_test))


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

    keras.utils.set_random_seed(seed)
    start = time.perf_counter()
    model = network(args, digits.x_train.shape[1])
    temperature = float(np.std(model(digits.x_train[:1000])))
    train(args, model, digits, temperature, args.epochs[0], args.rates[0])
    weights = np.concatenate(
        [layer.kernel.numpy().ravel() for layer in model.layers if layer.weights]
    )
    median = float(np.median(np.abs(weights)))

    def note(values, bits, injected, error):
        row = {
            "values": values,
            "bits": bits,
            "injected": injected,
            "error": error,
            "published": None if injected else PUBLISHED.get((values, bits)),
            "median weight": median,
            "temperature": temperature,
            "seed": seed,
            "seconds": time.perf_counter() - start,
        }
        log({**settings, **row})

    hidden = ("log", "plot", "smoke", "bits", "inject")
    settings = {name: value for name, value in vars(args).items() if name not in hidden}
    log({**settings, "values": "float", "error": errors(model, digits), "seed": seed})
    for bits in args.bits:
        for values in ("weights", "all"):
            small = kc.swap(model, formats(bits, values))
            note(values, bits, False, errors(small, digits))
    for bits in args.bits if args.inject is None else args.inject:
        small = kc.swap(model, formats(bits, "all"))
        noise = kc.callbacks.QuantizationNoise()
        train(
            *(args, small, digits, temperature),
            *(args.epochs[1], args.rates[1]),
            noise,
        )
        note("all", bits, True, errors(small, digits))


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
    from keras_compress.recipes.digits import load_digits

    if args.smoke:
        args.width, args.depth, args.epochs, args.batch = 64, 2, [8, 3], 32
        args.bits, args.inject = [2, 4], [2]
    digits, line = load_digits("scikit-learn" if args.smoke else "auto")
    print(line, flush=True)
    if args.held_out:
        there, here = slice(-args.held_out, None), slice(-args.held_out)
        digits = dataclasses.replace(
            digits,
            x_train=digits.x_train[here],
            y_train=digits.y_train[here],
            x_test=digits.x_train[there],
            y_test=digits.y_train[there],
        )

    def log(row):
        shown = {
            name: row.get(name)
            for name in ("values", "bits", "injected", "error", "published", "seconds")
        }
        print(shown, flush=True)
        with open(args.log, "a") as file:
            print(json.dumps(row), file=file)

    for seed in args.seeds:
        run(args, seed, digits, log)


if __name__ == "__main__":
    main()
