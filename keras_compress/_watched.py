"""`watched`: sees what layers are called on, at any depth of a model."""

import contextlib
import threading


@contextlib.contextmanager
def watched(layer, watch):
    """Sends every call of `layer` through `watch(layer, call, args, kwargs)`.

    Keras looks `call` up on the instance, so an instance attribute is enough. It goes
    past `Layer.__setattr__`, which tracks, and locks built layers. Calls of other
    threads go straight through.
    """
    thread = threading.get_ident()
    names = ("call", "quantized_call")
    before = {name: layer.__dict__[name] for name in names if name in layer.__dict__}

    def wrap(call):
        def watched_call(*args, **kwargs):
            if threading.get_ident() != thread:
                return call(*args, **kwargs)
            return watch(layer, call, args, kwargs)

        return watched_call

    wrappers = {name: wrap(getattr(layer, name)) for name in names}
    layer.__dict__.update(wrappers)
    try:
        yield
    finally:
        for name in names:
            layer.__dict__.pop(name, None)
        layer.__dict__.update(before)
