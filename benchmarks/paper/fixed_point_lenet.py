"""LeNet-5 on MNIST with values of 8, 4 and 2 bits: calibrated only, and injected.

    python benchmarks/paper/fixed_point_lenet.py --log fixed_point_lenet.jsonl

`calibrated` takes the formats that `kc.analysis.choose_formats` finds for the float net
on training images, without training; `injected` trains on with these formats, with the
errors of rounding in every step and floats as ghosts. Weights, inputs and outputs of a
layer have so many bits (`--activation-bits` gives inputs and outputs their own), the
last scores stay floats. Each row is a line of the log: its settings, seed, errors on
the test images and time.
"""

import os
import time

from digit_runs import digit_parser, load, logger, train


def arguments():
    parser = digit_parser(__doc__, log="fixed_point_lenet.jsonl")
    add = parser.add_argument
    add("--bits", nargs="+", type=int, default=[8, 4, 2])
    add("--activation-bits", type=int, help="of inputs and outputs")
    add("--method", default="least_squares", help="of choose_formats")
    add("--epochs", nargs=2, type=int, default=[8, 3], help="float, and injected")
    add("--rates", nargs=2, type=float, default=[1e-3, 5e-4], help="of Adam")
    add("--dropout", type=float, default=0.3, help="hidden units")
    add("--batch", type=int, default=128)
    add("--calibration", type=int, default=500, help="training images")
    return parser.parse_args()


def network(args, pixels):
    from keras import Input, Sequential, layers

    side = round(pixels**0.5)
    window = 5 if side == 28 else 3
    return Sequential(
        [
            Input((pixels,)),
            layers.Reshape((side, side, 1)),
            layers.Conv2D(20, window, name="conv1"),
            layers.MaxPooling2D(),
            layers.Conv2D(50, window, name="conv2"),
            layers.MaxPooling2D(padding="same"),
            layers.Flatten(),
            layers.Dense(500, activation="relu", name="fc1"),
            layers.Dropout(args.dropout),
            layers.Dense(10, name="fc2"),
        ],
        name="lenet_5",
    )


def run(args, seed, digits, log):
    import keras

    import keras_compress as kc
    from keras_compress.recipes.lenet_300_100 import test_error

    keras.utils.set_random_seed(seed)
    start = time.perf_counter()

    def note(model, values, bits):
        seconds = time.perf_counter() - start
        row = {"values": values, "bits": bits, "error": test_error(model, digits)}
        row["seed"] = seed
        log({**row, "seconds": seconds, **settings})

    hidden = ("log", "smoke", "bits", "seeds")
    settings = {name: value for name, value in vars(args).items() if name not in hidden}
    model = network(args, digits.x_train.shape[1])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    train(args, model, digits, loss, args.epochs[0], args.rates[0])
    note(model, "float", 32)
    for bits in args.bits:
        formats = kc.analysis.choose_formats(
            model,
            digits.x_train[: args.calibration],
            bits,
            activation_bits=args.activation_bits,
            method=args.method,
        )
        small = kc.swap(model, formats)
        note(small, "calibrated", bits)
        noise = kc.callbacks.QuantizationNoise()
        train(args, small, digits, loss, args.epochs[1], args.rates[1], noise)
        note(small, "injected", bits)


def main():
    args = arguments()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if args.smoke:
        args.epochs, args.bits, args.batch = [6, 2], [8, 2], 32
    digits = load(args)
    log = logger(args.log, ("values", "bits", "error", "seconds"))
    for seed in args.seeds:
        run(args, seed, digits, log)


if __name__ == "__main__":
    main()
