"""What a `.tflite` file holds, and what LiteRT computes with it."""

import importlib
import warnings
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.lite.tools import flatbuffer_utils

SCHEMA = flatbuffer_utils.schema_fb
CONVOLUTIONS = (
    SCHEMA.BuiltinOperator.CONV_2D,
    SCHEMA.BuiltinOperator.DEPTHWISE_CONV_2D,
)


def with_wide_biases(content):
    """The file with biases of 64 bits where LiteRT's convolutions read such.

    For inputs of 16 bits the converter writes biases of 32, and the kernel reads
    twice as far as they go.

    Args:
        content: The bytes of a `.tflite` file.

    Returns:
        The bytes of another.
    """
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    for graph in model.subgraphs:
        for index in sorted(_wide_biases(model, graph)):
            tensor = graph.tensors[index]
            # Another tensor may share the buffer: it stays.
            narrow = bytes(model.buffers[tensor.buffer].data)
            wide = np.frombuffer(narrow, "<i4").astype("<i8")
            buffer = SCHEMA.BufferT()
            buffer.data = wide.view(np.uint8)
            model.buffers.append(buffer)
            tensor.buffer = len(model.buffers) - 1
            tensor.type = SCHEMA.TensorType.INT64
    return flatbuffer_utils.convert_object_to_bytearray(model)


def _wide_biases(model, graph):
    """The indices of the tensors of a graph that need 64 bits."""
    # Codes up to 127 stand in the older field, too.
    codes = [
        max(code.builtinCode, code.deprecatedBuiltinCode)
        for code in model.operatorCodes
    ]
    found = set()
    for operator in graph.operators or ():
        if codes[operator.opcodeIndex] not in CONVOLUTIONS:
            continue
        inputs = [int(index) for index in operator.inputs]
        if len(inputs) < 3 or inputs[2] < 0:
            continue
        kinds = [graph.tensors[index].type for index in inputs]
        if kinds[0] == SCHEMA.TensorType.INT16 and kinds[2] == SCHEMA.TensorType.INT32:
            found.add(inputs[2])
    return found


def constants(content):
    """`(array, scales)` of every tensor of the file that holds numbers.

    Raises:
        ValueError: If LiteRT refuses the file.
    """
    reader = interpreter(content, delegates=False)
    try:
        reader.allocate_tensors()
    except RuntimeError as error:
        raise ValueError(
            "`model` became a file that LiteRT refuses, as its converter and its "
            f"kernels disagree. Try formats of 8 bits. LiteRT says: {error}"
        ) from error
    found = []
    for tensor in reader.get_tensor_details():
        try:
            array = reader.get_tensor(tensor["index"])
        except ValueError:  # of those that are computed
            continue
        found.append((array, tensor["quantization_parameters"]["scales"]))
    return found


def interpreter(content, *, delegates=True):
    """LiteRT's interpreter where it is installed, else the one in TensorFlow."""
    try:
        module: Any = importlib.import_module("ai_edge_litert.interpreter")
        resolvers = module.OpResolverType
    except ImportError:
        module, resolvers = tf.lite, tf.lite.experimental.OpResolverType
    which = resolvers.AUTO if delegates else resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    with warnings.catch_warnings():
        # TensorFlow's says that it will go one day.
        warnings.simplefilter("ignore", UserWarning)
        return module.Interpreter(
            model_content=content, experimental_op_resolver_type=which
        )
