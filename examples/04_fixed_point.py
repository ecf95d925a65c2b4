"""Quantize a trained network to 8 bits and to 4, with data alone, then by training.

python examples/04_fixed_point.py [--smoke]
"""

import sys

import keras

import keras_compress as kc
from keras_compress.recipes import lenet_300_100
from keras_compress.recipes.digits import load_digits

smoke = "--smoke" in sys.argv
digits, line = load_digits("scikit-learn" if smoke else "auto")
print(line)
keras.utils.set_random_seed(1)
model = lenet_300_100.build(digits.x_train.shape[1])
lenet_300_100.train(model, digits, epochs=4 if smoke else 10)


def show(name, network):
    error = lenet_300_100.test_error(network, digits)
    size = kc.report(network).models[0].memory_bytes
    print(f"{name}: {error:.2f} % errors, {size:,} bytes")


show("floats", model)

# What the bits look like: sign, integer part, fraction.
print("-35.125 is", kc.QFormat(6, 3).to_bits(-35.125))

# Without training: formats from some images, then integers from end to end.
for bits in (8, 3):
    formats = kc.analysis.choose_formats(model, digits.x_train[:500], bits=bits)
    small = kc.swap(model, formats)
    show(f"{bits} bits, calibrated", kc.pack(small))
print(formats.to_markdown())

# With training: the network learns to live with the noise of 3 bits.
small.compile(keras.optimizers.Adam(3e-4), "sparse_categorical_crossentropy")
small.fit(
    *(digits.x_train, digits.y_train),
    epochs=2 if smoke else 5,
    batch_size=128,
    verbose=0,
    callbacks=[kc.callbacks.QuantizationNoise()],
)
show(f"{bits} bits, trained", kc.pack(small))
