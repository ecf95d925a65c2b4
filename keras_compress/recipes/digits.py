"""Handwritten digits: MNIST where it can be had, or those that scikit-learn ships."""

import dataclasses
import urllib.error
import urllib.request

import numpy as np

# Where tensorflow-datasets downloads MNIST from.
MNIST_HOST = "https://storage.googleapis.com"


@dataclasses.dataclass(frozen=True)
class Digits:
    """A data set of flat grey images, pixels in `[0, 1]`, and their labels, 0 to 9.

    Args:
        name: What people call it.
        x_train: Float32 array `(examples, pixels)`.
        y_train: Int64 array `(examples,)`.
        x_test: Float32 array `(examples, pixels)`.
        y_test: Int64 array `(examples,)`.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def load_digits(source="auto"):
    """Handwritten digits, ready for training.

    Args:
        source: `"mnist"`, `"scikit-learn"`, or `"auto"`: MNIST if tensorflow-datasets
            is installed and has it prepared or can download it, else scikit-learn's.

    Returns:
        A `Digits`, and a line that says which data it is and, with `"auto"`, why it
        is not MNIST.

    Raises:
        ValueError: If `source` is none of the three.
        Exception: Whatever keeps MNIST from being read, with `"mnist"`.
    """
    if source not in ("auto", "mnist", "scikit-learn"):
        raise ValueError(
            "`source` must be 'auto', 'mnist' or 'scikit-learn'. "
            f"Received: source={source!r}"
        )
    reason = ""
    if source != "scikit-learn":
        try:
            return _told(mnist(), "")
        except Exception as error:
            # No package, no network, no space, a broken copy: all mean no MNIST.
            if source == "mnist":
                raise
            text = (str(error).strip() or type(error).__name__).splitlines()[0]
            reason = f", because MNIST cannot be had: {text[:160]}"
    return _told(scikit_learn_digits(), reason)


def mnist():
    """MNIST, 60,000 and 10,000 images of 28 x 28, through tensorflow-datasets.

    It is read from where `TFDS_DATA_DIR` says, or downloaded there.

    Returns:
        A `Digits` of 784 pixels.

    Raises:
        ImportError: If tensorflow-datasets is not installed.
        OSError: If MNIST is not prepared and its host cannot be reached.
    """
    import tensorflow_datasets as tfds

    builder = tfds.builder("mnist")
    if not builder.is_prepared():
        _check_host()
        builder.download_and_prepare()
    arrays = []
    for split in ("train", "test"):
        data = tfds.as_numpy(builder.as_dataset(split, batch_size=-1))
        images = data["image"]
        arrays.append(images.reshape(len(images), -1).astype("float32") / 255.0)
        arrays.append(data["label"].astype("int64"))
    return Digits("MNIST", *arrays)


def scikit_learn_digits():
    """The 1,797 images of 8 x 8 that scikit-learn ships, the last 360 for the test.

    The last ones were written by other people than the first ones.

    Returns:
        A `Digits` of 64 pixels.

    Raises:
        ImportError: If scikit-learn is not installed.
    """
    from sklearn.datasets import load_digits as load

    images, labels = load(return_X_y=True)
    images = (images / 16.0).astype("float32")
    labels = labels.astype("int64")
    train, test = slice(None, -360), slice(-360, None)
    return Digits(
        "scikit-learn's digits",
        *(images[train], labels[train], images[test], labels[test]),
    )


def _check_host():
    """Fails at once without a network; tensorflow-datasets tries for minutes."""
    try:
        urllib.request.urlopen(MNIST_HOST, timeout=10).close()
    except urllib.error.HTTPError:
        pass  # It answers, if only to say that there is no page.
    except OSError as error:
        raise OSError(
            f"it is not prepared in TFDS_DATA_DIR, and {MNIST_HOST} cannot be reached"
        ) from error


def _told(digits, reason):
    pixels = digits.x_train.shape[1]
    counts = f"{len(digits.x_train):,} for training, {len(digits.x_test):,} for testing"
    return digits, f"Data: {digits.name}, {pixels} pixels, {counts}{reason}"
