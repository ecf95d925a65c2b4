"""Models saved to files that are whole or not there."""

import os
import uuid


def save_whole(model, path):
    """Saves a model under a temporary name beside `path`, and renames when complete.

    What is at `path` is the whole new file or what was there before, and nothing else
    is left behind.

    Args:
        model: A Keras model.
        path: `pathlib.Path` that ends in `.keras`.

    Raises:
        OSError: If the file cannot be written.
    """
    # Keras looks at the ending.
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.keras")
    try:
        model.save(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
