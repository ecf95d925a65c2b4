"""Teach a network of 30 units a layer what one of 300 and 100 knows.

python examples/05_distill.py [--smoke]
"""

import sys
import tempfile
from pathlib import Path

import keras
import tensorflow as tf

import keras_compress as kc
from keras_compress.recipes import distilled, hinton_2015, lenet_300_100
from keras_compress.recipes.digits import load_digits

smoke = "--smoke" in sys.argv
epochs = 12 if smoke else 10
digits, line = load_digits("scikit-learn" if smoke else "auto")
print(line)
pixels = digits.x_train.shape[1]
keras.utils.set_random_seed(1)
teacher = lenet_300_100.build(pixels)
lenet_300_100.train(teacher, digits, epochs=epochs)

# A small student, by labels alone and by the teacher's probabilities at T = 4. The
# teacher runs once over the data; the fit reads what it said from disk.
alone = hinton_2015.network(30, pixels)
lenet_300_100.train(alone, digits, epochs=epochs)
student = hinton_2015.network(30, pixels)
data = tf.data.Dataset.from_tensor_slices((digits.x_train, digits.y_train)).batch(128)
with tempfile.TemporaryDirectory() as folder:
    data = kc.distillation.cache_logits(
        teacher, data, Path(folder) / "teacher.logits", shuffle=len(digits.x_train)
    )
    distiller = kc.Distiller(student, temperature=4.0, alpha=0.9)
    distiller.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    distiller.fit(data, epochs=epochs)

# A tenth of the teacher's own weights, then a bit for each of these, taught by all.
pruning = kc.callbacks.IterativePruning(kc.schedules.Cubic(0.9))
prune = distilled.Step(kc.Prune(), epochs, (pruning,))
bits = kc.Bitwise(inputs="bipolar", scale=True)
binarize = distilled.Step(bits, 2 * epochs, (kc.callbacks.Binarization(),))
pruned = distilled.compress(teacher, digits, [prune])
bitwise = distilled.compress(teacher, digits, [prune, binarize])

for name, model in (
    ("teacher", teacher),
    ("small, by labels", alone),
    ("small, distilled", student),
    ("pruned, distilled", kc.pack(pruned)),
    ("pruned, then bits, distilled", bitwise),
):
    weights = kc.report(model).models[0].weights_kept
    error = lenet_300_100.test_error(model, digits)
    print(f"{name}: {error:.2f} % errors, {weights:,} weights")
