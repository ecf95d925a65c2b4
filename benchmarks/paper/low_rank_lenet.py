"""LeNet-5's second convolution at low rank, by every method; and an RGB filter bank.

    python benchmarks/paper/low_rank_lenet.py --log low_rank_lenet.jsonl

LeNet-5 (20 and 50 windows of 5 x 5, 500 units) is trained on MNIST; its second
convolution, 20 -> 50, is cut to a share of its weights by each method, and looked at as
it is and after one more epoch: accuracy on the test images, error of the kernel,
weights, multiply-adds, and the time of its steps beside the whole one, in turns, in one
process (`kc.pack` multiplies back what is slower). Weights of VGG are not at hand:
Denton's 2 to 2.5 x on a convolution of that size are measured by `bench_low_rank.py
--part convolutions`, the loss on this net.

`--colours` draws the lecture's example, a bank of RGB filters as outer products and by
few colours, into a picture, and prints the counts: 3 D^2, 4 D + 6 and the others.
"""

import argparse
import json
import os
import statistics
import time
from pathlib import Path


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--smoke", action="store_true", help="small, on few images")
    add("--seed", type=int, default=1)
    add("--epochs", type=int, default=3)
    add("--share", type=float, default=0.25, help="of the kernel's weights")
    add("--rounds", type=int, default=30, help="of timing")
    add("--cache", metavar="FOLDER", default="build/low_rank_lenet")
    add("--colours", metavar="FILE", help="draw the colour filters, and stop")
    add("--log", metavar="FILE", default="low_rank_lenet.jsonl")
    return parser.parse_args()


def load(smoke):
    from keras_compress.recipes import digits

    data = digits.mnist()
    few = slice(0, 2000 if smoke else None)
    images = [x.reshape(-1, 28, 28, 1)[few] for x in (data.x_train, data.x_test)]
    return images[0], data.y_train[few], images[1], data.y_test[few]


def network():
    from keras import Input, Sequential, layers

    return Sequential(
        [
            Input((28, 28, 1)),
            layers.Conv2D(20, 5, name="conv1"),
            layers.MaxPooling2D(),
            layers.Conv2D(50, 5, name="conv2"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(500, activation="relu", name="fc1"),
            layers.Dense(10, name="fc2"),
        ]
    )


def fit(model, data, epochs, rate):
    import keras

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    steps = max(1, epochs * (len(data[0]) // 128))
    schedule = keras.optimizers.schedules.CosineDecay(rate, steps)
    model.compile(keras.optimizers.Adam(schedule), loss, metrics=["accuracy"])
    model.fit(data[0], data[1], batch_size=128, epochs=epochs, verbose=2)


def accuracy(model, data):
    import numpy as np

    scores = model.predict(data[2], batch_size=500, verbose=0)
    return 100.0 * float(np.mean(scores.argmax(axis=-1) == data[3]))


def seconds_beside(whole, cut, batch, rounds):
    """Median times of two layers on a feature map of conv2, in turns."""
    import tensorflow as tf

    inputs = tf.random.normal((batch, 12, 12, 20))
    runs = []
    for layer in (whole, cut):
        call = tf.function(layer)
        call(inputs)
        runs.append(call)
    times = [[], []]
    for _ in range(rounds):
        for run, taken in zip(runs, times, strict=True):
            start = time.perf_counter()
            for _ in range(5):
                run(inputs)
            taken.append((time.perf_counter() - start) / 5)
    return [statistics.median(taken) for taken in times]


def rows(args, data):
    import keras

    import keras_compress as kc
    from keras_compress.functional import convolution
    from keras_compress.functional.low_rank import relative_error

    path = Path(args.cache, f"{'smoke' if args.smoke else 'mnist'}_{args.seed}.keras")
    keras.utils.set_random_seed(args.seed)
    if path.exists():
        model = keras.models.load_model(path)
    else:
        model = network()
        fit(model, data, 1 if args.smoke else args.epochs, 2e-3)
        path.parent.mkdir(parents=True, exist_ok=True)
        model.save(path)
    whole = model.get_layer("conv2")
    size = whole.kernel.shape.num_elements()
    yield {"method": "dense", "weights": size, "accuracy": accuracy(model, data)}
    for method in [*convolution.FORMS, "whitened_svd"]:
        config = kc.LowRank(params=args.share, method=method, clusters=(2, 2))
        white = method == "whitened_svd"
        small = kc.swap(
            model, config, where="conv2", data=data[0][:500] if white else None
        )
        layer = small.get_layer("conv2")
        cost = next(x for x in kc.report(small).models[0].layers if x.name == "conv2")
        row = {"method": method, "rank": str(layer.kernel_rank)}
        row |= {"weights": cost.weights, "multiply_adds": cost.multiply_adds}
        row["kernel_error"] = relative_error(whole.kernel, layer.effective_kernel())
        row["accuracy"] = accuracy(small, data)
        fit(small, data, 1, 3e-4)
        row["trained_on"] = accuracy(small, data)
        for batch in (1, 64):
            times = seconds_beside(
                whole, small.get_layer("conv2"), batch, 2 if args.smoke else args.rounds
            )
            row[f"speed_{batch}"] = times[0] / times[1]
        yield row


def filter_bank(side=7, count=8):
    """First-layer filters `(side, side, 3, count)`: Gabor patches of two colours."""
    import numpy as np

    random = np.random.default_rng(3)
    axis = np.arange(side) - side // 2
    filters = []
    for _ in range(count):
        angle, tints = random.uniform(0, np.pi), random.standard_normal((2, 3))
        along = np.cos(angle) * axis[:, None] + np.sin(angle) * axis[None]
        envelope = np.exp(-(axis[:, None] ** 2 + axis[None] ** 2) / 12)
        patch = np.multiply.outer(np.cos(1.3 * along) * envelope, tints[0])
        filters.append(patch + 0.5 * np.multiply.outer(envelope, tints[1]))
    return np.stack(filters, axis=-1)


def approximations(bank):
    """Name, numbers and the bank made of them: each filter alone, then all at once."""
    import numpy as np

    from keras_compress.functional import convolution

    def cut(method, kernel, rank):
        factors = convolution.decompose(method, kernel, rank)
        made = np.asarray(convolution.FORMS[method].compose(**factors))
        return made, convolution.weights(method, kernel.shape, rank)

    channels, count = bank.shape[2:]
    yield f"whole, {channels} D^2 a filter", bank.size, bank
    for rank in (1, 2, 3):
        parts = [cut("cp", bank[..., i : i + 1], rank) for i in range(count)]
        size = sum(weights for _, weights in parts)
        made = np.concatenate([part for part, _ in parts], axis=-1)
        name = f"{2 * rank} D + {3 * rank} a filter"
        yield f"CP of each, rank {rank}: {name}", size, made
    for method, rank in (("monochromatic", 4), ("cp", 8), ("cp", 16)):
        made, size = cut(method, bank, rank)
        unit = "colours" if method == "monochromatic" else "products"
        yield f"{method} of all, {rank} {unit}", size, made


def colours(path):
    """Draws a bank of colour filters and what is left of it; prints the counts."""
    import numpy as np
    from matplotlib.figure import Figure
    from tabulate import tabulate

    from keras_compress.functional.low_rank import relative_error

    bank = filter_bank()
    found = list(approximations(bank))
    figure = Figure(figsize=(9, 9), layout="constrained")
    axes = figure.subplots(len(found), bank.shape[-1])
    rows = []
    for line, (name, size, made) in zip(axes, found, strict=True):
        error = relative_error(bank, made)
        rows.append({"bank": name, "numbers": size, "error": error})
        line[0].set_title(f"{name}: {size} numbers, error {error:.2f}", loc="left")
        for column, place in enumerate(line):
            top = np.abs(bank[..., column]).max()
            place.imshow(np.clip(0.5 + 0.5 * made[..., column] / top, 0, 1))
            place.set_axis_off()
    figure.savefig(path, dpi=150)
    print(tabulate(rows, headers="keys", floatfmt=".3f", tablefmt="github"))
    print(path)


def main():
    args = arguments()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if args.colours:
        colours(args.colours)
        return
    import keras
    import tensorflow as tf
    from tabulate import tabulate

    found = []
    for row in rows(args, load(args.smoke)):
        found.append(row)
        line = vars(args) | row | {"keras": keras.__version__}
        with open(args.log, "a") as file:
            print(json.dumps(line | {"tensorflow": tf.__version__}), file=file)
        print(json.dumps(row), flush=True)
    print(tabulate(found, headers="keys", floatfmt=".3f", tablefmt="github"))


if __name__ == "__main__":
    main()
