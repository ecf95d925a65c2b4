"""Deep Compression: prune, share weights, train the centroids, and a small file.

python examples/08_deep_compression.py [--smoke]
"""

import sys
import tempfile
from pathlib import Path

import keras

import keras_compress as kc
from keras_compress.recipes import lenet_300_100
from keras_compress.recipes.digits import load_digits

smoke = "--smoke" in sys.argv
digits, line = load_digits("scikit-learn" if smoke else "auto")
print(line)
keras.utils.set_random_seed(1)
dense = lenet_300_100.build(digits.x_train.shape[1])
lenet_300_100.train(dense, digits, epochs=4 if smoke else 10)
pruned = lenet_300_100.prune(dense, digits, epochs=8 if smoke else 20, sparsity=0.92)

shared = kc.swap(pruned, kc.Cluster(bits=4))  # 16 values a layer, and zero
lenet_300_100.train(shared, digits, epochs=2, rate=3e-4)  # trains these values
packed = kc.pack(shared, storage="compact")


def told(name, size, network):
    errors = lenet_300_100.test_error(network, digits)
    print(f"{name}: {size:,} bytes, {errors:.2f} % errors")


told("dense, its weights in memory", 4 * dense.count_params(), dense)
with tempfile.TemporaryDirectory() as folder:
    for name, network in (("pruned", kc.pack(pruned)), ("and shared", packed)):
        path = kc.save(network, Path(folder) / "model.keras")
        loaded = keras.models.load_model(path)
        told(f"{name}, the file", path.stat().st_size, loaded)
