"""`save`: a `.keras` file of few bytes, that is whole or not there."""

import os
import uuid
import zipfile
from pathlib import Path

import keras

from keras_compress._validation import invalid


def save(model, path):
    """Writes a `.keras` file whose parts are deflated, whole or not at all.

    `model.save` of Keras leaves them as they are: of the file of a small model packed
    with `storage="compact"`, most is then the settings in writing and the empty places
    that HDF5 leaves, about five kilobytes a layer. Any Keras loads this file, too. It
    is written under a temporary name beside `path` and renamed when complete.

    Args:
        model: A Keras model.
        path: A path that ends in `.keras`. What is there is replaced.

    Returns:
        `path`, as a `pathlib.Path`.

    Raises:
        ValueError: If `model` is no Keras model, or `path` none that ends in `.keras`.
        OSError: If the file cannot be written.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> path = save(model, tmp_path / "model.keras")
    >>> model.save(tmp_path / "plain.keras")
    >>> path.stat().st_size < (tmp_path / "plain.keras").stat().st_size
    True
    """
    if not isinstance(model, keras.Model):
        raise invalid("model", "a keras.Model", model)
    if not isinstance(path, str | os.PathLike) or Path(path).suffix != ".keras":
        raise invalid("path", "a path that ends in .keras", path)
    path = Path(path)
    _write_whole(path, lambda temporary: _save_deflated(model, temporary))
    return path


def save_whole(model, path):
    """Saves a model as Keras does, under a temporary name, and renames when complete.

    What is at `path` is the whole new file or what was there before, and nothing else
    is left behind.

    Args:
        model: A Keras model.
        path: `pathlib.Path` that ends in `.keras`.

    Raises:
        OSError: If the file cannot be written.
    """
    _write_whole(path, model.save)


def _write_whole(path, write):
    # Keras looks at the ending.
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.keras")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _save_deflated(model, path):
    plain = path.with_name(f".{path.stem}.plain.keras")
    try:
        model.save(plain)
        with zipfile.ZipFile(plain) as source, zipfile.ZipFile(path, "w") as target:
            for info in source.infolist():
                _copy_deflated(source, target, info)
    finally:
        plain.unlink(missing_ok=True)


def _copy_deflated(source, target, info):
    packed = zipfile.ZipInfo(info.filename, info.date_time)
    packed.compress_type = zipfile.ZIP_DEFLATED
    packed.file_size = info.file_size
    with source.open(info) as reader, target.open(packed, "w") as writer:
        while block := reader.read(1 << 20):
            writer.write(block)
