"""What all tests share: seeds, hypothesis profiles, slow tests, and data that may lack.

    --slow          also run the tests that take minutes
    --update-api    write tests/meta/api.txt anew

Data is found by the environment, never by a fixed path: `TFDS_DATA_DIR` (MNIST, as
tensorflow-datasets prepares it) and `KERAS_COMPRESS_DATA` (a folder of everything
else). Tests that need what is not there are skipped, and say so.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported

from pathlib import Path

import hypothesis
import keras
import numpy as np
import pytest
import tensorflow as tf

# Two processors to spread over, for tests of tf.distribute; before TensorFlow starts.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration() for _ in range(2)],
)

# TensorFlow traces and compiles at first calls: a deadline would fail at random.
hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.register_profile("nightly", deadline=None, max_examples=2000)
hypothesis.settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "local")
)


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="also run slow tests")
    parser.addoption("--update-api", action="store_true", help="rewrite api.txt")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--slow"):
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="slow: run with --slow"))


@pytest.fixture(autouse=True)
def fixed_seeds(request):
    """Every test starts from the same random numbers, whatever ran before it.

    A module's generator is set back in place: others may have imported it.
    """
    keras.utils.set_random_seed(1)
    generator = getattr(request.module, "RANDOM", None)
    if generator is not None:
        generator.bit_generator.state = np.random.default_rng(0).bit_generator.state


@pytest.fixture
def two_replicas():
    """A strategy that mirrors variables on two logical processors."""
    cpus = tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy(
        [cpu.name for cpu in cpus[:2]],
        cross_device_ops=tf.distribute.ReductionToOneDevice(),
    )


@pytest.fixture(scope="session")
def mnist():
    """MNIST as a `Digits`; never downloaded by a test."""
    folder = os.environ.get("TFDS_DATA_DIR")
    if not folder or not (Path(folder) / "mnist").is_dir():
        pytest.skip("MNIST is not there: set TFDS_DATA_DIR to where it is prepared")
    pytest.importorskip("tensorflow_datasets")
    from keras_compress.recipes import digits

    return digits.mnist()


@pytest.fixture(scope="session")
def small_digits():
    """The digits that scikit-learn ships, as a `Digits`."""
    pytest.importorskip("sklearn")
    from keras_compress.recipes import digits

    return digits.scikit_learn_digits()


@pytest.fixture(scope="session")
def data_folder():
    """A function from the name of a data set to its folder."""

    def find(name):
        root = os.environ.get("KERAS_COMPRESS_DATA")
        if not root or not (Path(root) / name).is_dir():
            pytest.skip(f"{name} is not there: set KERAS_COMPRESS_DATA to its parent")
        return Path(root) / name

    return find


@pytest.fixture(scope="session")
def pretrained(data_folder):
    """A function from a name to a network that others have trained."""

    def load(name):
        path = data_folder("pretrained") / f"{name}.keras"
        try:
            return keras.models.load_model(path)
        except TypeError as error:
            # The files hold settings of layers that older releases do not know.
            if "quantization_config" not in str(error):
                raise
            pytest.skip(f"{path.name} is of a newer Keras than {keras.__version__}")

    return load
