"""The lecture's 784-1024^5-10 on MNIST: half of its weights, cut without retraining.

    python benchmarks/paper/pruning_1024x5.py --log pruning_1024x5.jsonl

There it has 1.25 % errors, and 1.64 % when weights below 0.1 in size are zeros, which
is half of them. How many that is hangs on the scale of the weights: they start that
large here, and dropout and max-norm hold them. Beside the threshold in the unit of the
weights stand the one by deviations of each layer that cuts as many (Han's quality), and
the smallest half of all weights together. Each row is a line of the log.
"""

import argparse
import json
import os
import time

PUBLISHED = {"dense": 1.25, "threshold": 1.64}


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--smoke", action="store_true", help="small, on the digits of scikit-learn")
    add("--seeds", nargs="+", type=int, default=[1])
    add("--width", type=int, default=1024)
    add("--depth", type=int, default=5)
    add("--scale", type=float, default=0.12, help="deviation of the first weights")
    add("--epochs", type=int, default=60)
    add("--retrain", type=int, default=0, help="epochs behind the cut, as a row more")
    add("--rate", type=float, default=1e-3, help="of Adam")
    add("--dropout", nargs=2, type=float, default=[0.2, 0.5], help="inputs, hidden")
    add("--threshold", type=float, default=0.1)
    add("--batch", type=int, default=128)
    add("--threads", type=int, default=2, help="of TensorFlow")
    add("--log", metavar="FILE", default="pruning_1024x5.jsonl")
    return parser.parse_args()


def network(args, pixels):
    import keras

    layers = [keras.Input((pixels,)), keras.layers.Dropout(args.dropout[0])]
    for number in range(args.depth):
        layers.append(
            keras.layers.Dense(
                *(args.width, "relu"),
                kernel_initializer=keras.initializers.RandomNormal(0, args.scale),
                kernel_constraint=keras.constraints.MaxNorm(15**0.5),
                name=f"fc{number + 1}",
            )
        )
        layers.append(keras.layers.Dropout(args.dropout[1]))
    layers.append(keras.layers.Dense(10, "softmax", name="scores"))
    return keras.Sequential(layers)


def run(args, seed, digits, log):
    import keras
    import numpy as np

    import keras_compress as kc
    from keras_compress.layers.pruned import is_pruned, prune_together, total_sparsity
    from keras_compress.recipes.lenet_300_100 import test_error, train

    keras.utils.set_random_seed(seed)
    start = time.perf_counter()

    def note(how, model, **more):
        row = {"how": how, "error": test_error(model, digits), "seed": seed, **more}
        row["published"] = PUBLISHED.get(how)
        log(row | {"seconds": time.perf_counter() - start})

    def fit(model, epochs, rate):
        train(model, digits, epochs=epochs, rate=rate, batch=args.batch, verbose=0)

    model = network(args, digits.x_train.shape[1])
    fit(model, args.epochs, args.rate)
    small = kc.swap(model, kc.Prune())
    layers = [layer for layer in small.layers if is_pruned(layer)]
    sizes = [np.abs(layer.kernel.numpy()).ravel() for layer in layers]
    note("dense", small, median=float(np.median(np.concatenate(sizes))))

    def whole():
        for layer in layers:
            layer.mask.assign(np.ones(layer.mask.shape, bool))

    for layer in layers:
        layer.prune(threshold=args.threshold)
    cut = total_sparsity(layers)
    note("threshold", small, sparsity=cut)
    whole()
    # The share of a normal distribution within 0.6745 deviations is a half.
    for layer in layers:
        layer.prune(quality=0.6745)
    note("quality", small, sparsity=total_sparsity(layers))
    whole()
    prune_together(layers, 0.5)
    note("half of all", small, sparsity=total_sparsity(layers))
    if args.retrain:
        fit(small, args.retrain, args.rate / 10)
        note("half of all, retrained", small, sparsity=total_sparsity(layers))


def main():
    args = arguments()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    from keras_compress.recipes.digits import load_digits

    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    if args.smoke:
        args.width, args.depth, args.epochs, args.retrain = 64, 2, 4, 1
    digits, line = load_digits("scikit-learn" if args.smoke else "mnist")
    print(line, flush=True)
    hidden = ("log", "threads", "seeds")
    settings = {name: value for name, value in vars(args).items() if name not in hidden}
    settings["tensorflow"] = tf.__version__

    def log(row):
        print(row, flush=True)
        with open(args.log, "a") as file:
            print(json.dumps({**settings, **row}), file=file)

    for seed in args.seeds:
        run(args, seed, digits, log)


if __name__ == "__main__":
    main()
