"""Ask each layer how much pruning it can bear, and prune by the answers.

python examples/09_sensitivity.py [--smoke]
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
lenet_300_100.train(model, digits, epochs=4 if smoke else 8, verbose=0)

held_out = len(digits.x_train) // 6  # budgets are not chosen on the test images
training = digits.x_train[held_out:], digits.y_train[held_out:]
found = kc.analysis.sensitivity(
    model,
    (digits.x_train[:held_out], digits.y_train[:held_out]),
    retrain=1,
    train_data=training,
    levels=(0.5, 0.9) if smoke else None,
)
print(found)
print("drawn:", found.plot("sensitivity.png"))

target = found.budget(weights=0.12 if smoke else 0.05)  # layers that can give more do
print({path: round(sparsity, 3) for path, sparsity in target.items()})
small = kc.swap(model, kc.Prune())
small.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
pruning = kc.callbacks.IterativePruning(kc.schedules.Cubic(1.0), target=target)
epochs = 4 if smoke else 10
small.fit(*training, batch_size=128, epochs=epochs, callbacks=[pruning], verbose=0)
for name, network in (("before", model), ("after", small)):
    print(f"{name}: {lenet_300_100.test_error(network, digits):.2f} % errors")
