"""Take half of the filters out of a small ResNet: a network of the same kind, smaller.

python examples/07_shrink_a_resnet.py [--smoke]
"""

import sys

import keras
import numpy as np
from keras import layers

import keras_compress as kc
from keras_compress.recipes.digits import load_digits


def resnet(side, filters):
    """Three stages of two residual blocks, the second and third at half the size."""
    inputs = keras.Input((side, side, 1))
    x = layers.Conv2D(filters, 3, padding="same", name="stem")(inputs)
    for stage in range(3):
        for block in range(2):
            x = residual(x, filters << stage, stride=2 if stage and not block else 1)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10, activation="softmax", name="head")(x))


def residual(x, filters, stride):
    y = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    if stride > 1:
        x = layers.Conv2D(filters, 1, stride)(y)
    y = layers.Conv2D(filters, 3, stride, padding="same", use_bias=False)(y)
    y = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(y))
    return layers.Add()([x, layers.Conv2D(filters, 3, padding="same")(y)])


smoke = "--smoke" in sys.argv
digits, line = load_digits("scikit-learn" if smoke else "auto")
print(line)
side = round(digits.x_train.shape[1] ** 0.5)
x_train, x_test = (
    x.reshape(-1, side, side, 1) for x in (digits.x_train, digits.x_test)
)
settings = {"optimizer": "adam", "loss": "sparse_categorical_crossentropy"}
fit = {"epochs": 4 if smoke else 6, "batch_size": 128, "verbose": 0 if smoke else 2}

keras.utils.set_random_seed(1)
model = resnet(side, filters=8 if smoke else 16)
model.compile(**settings)
model.fit(x_train, digits.y_train, **fit)

# A filter goes with all its weights. Only those inside of the blocks, as the terms of a
# sum go together or not at all.
inside = [
    layer.name
    for layer in model.layers
    if isinstance(layer, layers.Conv2D) and not layer.use_bias
]
small = kc.swap(model, kc.Prune(pattern="neuron"), where=inside)
small.compile(**settings)
pruning = kc.callbacks.IterativePruning(kc.schedules.Cubic(0.5))
small.fit(x_train, digits.y_train, callbacks=[pruning], **fit)
packed = kc.pack(small)

print(kc.report(model, packed))
for name, network in (("before", model), ("pruned", small), ("packed", packed)):
    found = network.predict(x_test, verbose=0).argmax(axis=1)
    print(f"{name}: {100 * np.mean(found != digits.y_test):.2f} % errors")
