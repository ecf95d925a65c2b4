"""Turn a float classifier into a network of bits: weights, inputs and units.

python examples/02_bitwise.py [--smoke]
"""

import sys
import time

import keras
import numpy as np

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

weights = sum(layer.kernel.shape.num_elements() for layer in model.layers[::3])
print(f"before: {errors(model):.2f} % errors, {4 * weights:,} bytes of weights")
print(f"after: {errors(bitwise):.2f} % errors, {weights // 8:,} bytes of weights")
print(f"{time.perf_counter() - start:.0f} seconds")
