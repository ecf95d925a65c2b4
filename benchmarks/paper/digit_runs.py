"""What runs on digits have in common: images, training, lines of a log."""

import argparse
import dataclasses
import json


def digit_parser(description, log):
    """A parser of what every run takes."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = made.add_argument
    add("--smoke", action="store_true", help="small, on the digits of scikit-learn")
    add("--seeds", nargs="+", type=int, default=[1])
    add("--held-out", type=int, default=0, help="training images to count errors on")
    add("--log", metavar="FILE", default=log)
    return made


def load(args):
    """MNIST, or small digits; with `--held-out` its last training images as test."""
    from keras_compress.recipes.digits import load_digits

    digits, line = load_digits("scikit-learn" if args.smoke else "mnist")
    print(line, flush=True)
    if not args.held_out:
        return digits
    there, here = slice(-args.held_out, None), slice(-args.held_out)
    return dataclasses.replace(
        digits,
        x_train=digits.x_train[here],
        y_train=digits.y_train[here],
        x_test=digits.x_train[there],
        y_test=digits.y_train[there],
    )


def train(args, model, digits, loss, epochs, rate, *callbacks):
    """Fits by Adam, whose rate falls to zero along half a cosine."""
    import keras

    steps = epochs * -(-len(digits.x_train) // args.batch)
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps)), loss
    )
    model.fit(
        *(digits.x_train, digits.y_train),
        batch_size=args.batch,
        epochs=epochs,
        verbose=0,
        callbacks=list(callbacks),
    )


def logger(path, shown):
    """A function that prints what is `shown` of a row, and appends it to a log."""

    def log(row):
        print({name: row[name] for name in shown if name in row}, flush=True)
        with open(path, "a") as file:
            print(json.dumps(row), file=file)

    return log
