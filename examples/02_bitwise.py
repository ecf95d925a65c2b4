"""Turn a float classifier into a network of bits: swap, fit, pack, export, time.

python examples/02_bitwise.py [--smoke]
"""

import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import keras_compress as kc
from keras_compress.recipes.digits import load_digits

smoke = "--smoke" in sys.argv
digits, line = load_digits("scikit-learn" if smoke else "auto")
print(line)
keras.utils.set_random_seed(1)
train = digits.x_train, digits.y_train
width, epochs = (128, 4) if smoke else (512, 10)


def compile_and_fit(model, epochs, *callbacks):
    # Bits flip until the very end, unless the rate falls.
    steps = epochs * len(digits.x_train) // 128
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(3e-3, steps)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(*train, epochs=epochs, batch_size=128, callbacks=list(callbacks))


def errors(model):
    scores = model.predict(digits.x_test, batch_size=1000, verbose=0)
    return 100 * np.mean(scores.argmax(axis=-1) != digits.y_test)


start = time.perf_counter()
model = keras.Sequential(
    [
        keras.Input((digits.x_train.shape[1],)),
        keras.layers.Dense(width, name="fc1"),
        keras.layers.BatchNormalization(momentum=0.9),
        keras.layers.Activation("relu"),
        keras.layers.Dense(width, name="fc2"),
        keras.layers.BatchNormalization(momentum=0.9),
        keras.layers.Activation("relu"),
        keras.layers.Dense(10, name="fc3"),
        keras.layers.BatchNormalization(momentum=0.9),
    ]
)
compile_and_fit(model, epochs // 2)

# Pixels are never negative, so their signs say nothing: they need a coding.
bitwise = kc.swap(model, kc.Bitwise(inputs="bipolar", straight_through="clip"))
# Half of the fit with weights and units compressed by tanh, half with signs.
compile_and_fit(bitwise, epochs, kc.callbacks.Binarization())

# One op for the whole network, and bits alone between its layers. Not one output is
# another than before.
packed = kc.pack(bitwise)
sample = digits.x_test[:1000]
assert (packed.predict(sample, verbose=0) == bitwise.predict(sample, verbose=0)).all()
with tempfile.TemporaryDirectory() as folder:
    sizes = {}
    for name, one in {"float": model, "packed": packed}.items():
        served = kc.export(one, Path(folder) / name)
        sizes[name] = sum(f.stat().st_size for f in served.rglob("*") if f.is_file())


def microseconds(function, calls=300):
    times = []
    for _ in range(calls):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return 1e6 * np.median(times)


digit = tf.constant(digits.x_test[:1])
direct = packed.layers[-1].as_function()  # the op, without Keras around it
times = {
    "float model": microseconds(lambda: model(digit)),
    "packed model": microseconds(lambda: packed(digit)),
    "its function": microseconds(lambda: direct(digit)),
}
print(f"float: {errors(model):.2f} % errors, a SavedModel of {sizes['float']:,} bytes")
print(f"bits: {errors(packed):.2f} % errors, a SavedModel of {sizes['packed']:,} bytes")
for name, us in times.items():
    print(f"{name}: {us:.0f} us for one digit")
print(f"{time.perf_counter() - start:.0f} seconds")
