"""MNIST at low rank: the accuracy of 784-1024x5-10 when its kernels are cut to rank K.

    python benchmarks/paper/low_rank_mnist.py --log low_rank_mnist.jsonl

A course's homework on this net (batch normalisation, ReLU, dropout 0.4, Adam 0.01,
batches of 512, 30 epochs) reports a test accuracy of 67.86, 93.86, 98.00, 98.42, 98.51
and 98.55 % at ranks 10, 20, 50, 100, 200 and full, by the SVD alone; rank 20, trained
on as factors, 97.99 % with 215,370 weights and biases against 5,012,490. The last layer
stays as it is. The dense net is trained once for each seed and kept in `--cache`. Every
run appends a line to the log. Nothing is chosen by the test images.
"""

import argparse
from pathlib import Path

PUBLISHED = {10: 67.86, 20: 93.86, 50: 98.00, 100: 98.42, 200: 98.51, None: 98.55}
PUBLISHED_TRAINED = {20: 97.99}


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--smoke", action="store_true", help="small, on the digits of scikit-learn")
    add("--seeds", nargs="+", type=int, default=[1])
    add("--ranks", nargs="+", type=int, default=[10, 20, 50, 100, 200])
    add("--width", type=int, default=1024)
    add("--depth", type=int, default=5)
    add("--epochs", nargs=2, type=int, default=[15, 12], help="dense, and factors")
    add("--rates", nargs=2, type=float, default=[1e-2, 1e-3], help="of Adam")
    add("--batch", type=int, default=512)
    add("--calibration", type=int, default=10_000, help="images of the training set")
    add("--trained", nargs="*", type=int, default=[20], help="ranks to train on")
    add("--cache", metavar="FOLDER", default="build/low_rank_mnist")
    add("--log", metavar="FILE", default="low_rank_mnist.jsonl")
    return parser.parse_args()


def load(smoke):
    from keras_compress.recipes import digits

    return digits.scikit_learn_digits() if smoke else digits.mnist()


def network(args, pixels):
    from keras import Input, Sequential, layers

    found = [Input((pixels,))]
    for number in range(1, args.depth + 1):
        found.append(layers.Dense(args.width, name=f"fc{number}"))
        found.append(layers.BatchNormalization(momentum=0.9))
        found.append(layers.ReLU())
        found.append(layers.Dropout(0.4))
    return Sequential([*found, layers.Dense(10, name="last", activation="softmax")])


def fit(args, model, data, epochs, rate):
    import keras

    steps = max(1, epochs * (len(data.x_train) // args.batch))
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps)),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=True,
    )
    model.fit(
        *(data.x_train, data.y_train), batch_size=args.batch, epochs=epochs, verbose=2
    )


def dense(args, seed, data):
    """The trained dense net, from the cache if it is there."""
    import keras

    path = Path(args.cache, f"{'smoke' if args.smoke else 'mnist'}_{seed}.keras")
    if not path.exists():
        keras.utils.set_random_seed(seed)
        model = network(args, data.x_train.shape[1])
        fit(args, model, data, args.epochs[0], args.rates[0])
        path.parent.mkdir(parents=True, exist_ok=True)
        model.save(path)
    return keras.models.load_model(path)


if __name__ == "__main__":
    args = arguments()
    data = load(args.smoke)
    dense(args, args.seeds[0], data)
