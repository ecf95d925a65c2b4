"""Cut a trained network to low rank, by what its layers see; train on; pack.

python examples/03_low_rank.py [--smoke]
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


def say(name, network):
    cost = kc.report(network).models[0]
    print(
        f"{name}: {lenet_300_100.test_error(network, digits):.2f} % errors, "
        f"{cost.weights:,} weights, {cost.multiply_adds:,} multiply-adds"
    )


say("dense", model)
samples = digits.x_train[:2000]  # inputs alone; no labels, no training

# Which layer can spare how much: a quarter of the weights, where they are needed most.
choice = kc.analysis.choose_ranks(model, params=0.25, data=samples[:200])
print(choice)
say("by the SVD", kc.swap(model, choice))

# The same ranks, but with the factors that change the layers' outputs least.
method = "whitened_svd"
choice = kc.analysis.choose_ranks(model, params=0.25, data=samples[:200], method=method)
small = kc.swap(model, choice, data=samples)
say("by the outputs", small)

small.compile(
    keras.optimizers.Adam(3e-4),
    "sparse_categorical_crossentropy",
    metrics=["accuracy"],
)
small.fit(*(digits.x_train, digits.y_train), epochs=3, batch_size=128, verbose=2)
packed = kc.pack(small)  # factors, which can be pruned or quantized in turn
say("trained on, packed", packed)
