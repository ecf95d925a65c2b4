"""Prune a trained network to a tenth of its weights, inside `fit`, and pack it.

python examples/01_prune.py [--smoke]
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

small = kc.swap(model, kc.Prune())  # the same weights, in layers that have a mask
small.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
pruning = kc.callbacks.IterativePruning(kc.schedules.Cubic(0.9))
small.fit(
    *(digits.x_train, digits.y_train),
    epochs=4 if smoke else 10,
    batch_size=128,
    callbacks=[pruning],
)
packed = kc.pack(small)  # only the weights that are left

for name, network in (("before", model), ("after", packed)):
    cost = kc.report(network).models[0]
    print(
        f"{name}: {lenet_300_100.test_error(network, digits):.2f} % errors, "
        f"{cost.weights_kept:,} weights, {cost.memory_bytes:,} bytes, "
        f"{cost.effective_multiply_adds:,} multiply-adds"
    )
