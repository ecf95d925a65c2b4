"""Integer products of LiteRT (XNNPACK) and ONNX Runtime beside our kernels.

build/peers/runtime/bin/python benchmarks/peers/integers.py

Weights of 8 bits and a bias. Floats go in and come out, quantizing included, but for
`codes`, where bytes do, as between two layers. `ORT QDQ` has a fixed scale for the
inputs, as LiteRT and we have, `ORT dynamic` finds one in each call.
"""

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from ai_edge_litert.interpreter import Interpreter
from onnxruntime import quantization
from side_by_side import BUILD, INTEGERS, fastest, kernels, report

BATCHES = [1, 16, 64, 256]


def litert(name, rows):
    """Runs a model on rows of floats or of bytes."""
    interpreter = Interpreter(str(BUILD / "models" / f"{name}.tflite"), num_threads=1)
    (given,) = interpreter.get_input_details()
    interpreter.resize_tensor_input(given["index"], rows.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], rows)
    return interpreter.invoke


class Rows(quantization.CalibrationDataReader):
    """Examples of which ONNX Runtime takes the scale of the inputs."""

    def __init__(self, rows):
        self.left = [{"x": rows}]

    def get_next(self):
        return self.left.pop() if self.left else None


def graphs(matrix, bias, folder):
    """A product and a bias as models: of floats, quantized, and quantized in calls."""
    tensor, info = onnx.helper.make_tensor_value_info, onnx.TensorProto
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Gemm", ["x", "w", "b"], ["y"])],
        "product",
        [tensor("x", info.FLOAT, [None, len(matrix)])],
        [tensor("y", info.FLOAT, [None, len(bias)])],
        [onnx.numpy_helper.from_array(a, n) for a, n in ((matrix, "w"), (bias, "b"))],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
    files = [str(Path(folder) / f"{name}.onnx") for name in ("float", "qdq", "dynamic")]
    onnx.save(model, files[0])
    rows = np.random.default_rng(0).standard_normal((16, len(matrix)))
    quantization.quantize_static(files[0], files[1], Rows(rows.astype("float32")))
    quantization.quantize_dynamic(files[0], files[2])
    return dict(zip(("ORT float", "ORT QDQ", "ORT dynamic"), files, strict=True))


def onnx_runtime(file, rows):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(file, options, ["CPUExecutionProvider"])
    bound = session.io_binding()
    bound.bind_cpu_input("x", rows)
    bound.bind_output("y", "cpu")
    return lambda: session.run_with_iobinding(bound)


def main():
    # `side_by_side` has made them known.
    from bench_fixed_point import Layer
    from turns import aligned

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    parser.add_argument("--seconds", type=float, default=4.0, help="for each row")
    args = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    library = kernels().library
    random = np.random.default_rng(0)
    for inputs, units in INTEGERS:
        shape = f"{inputs}x{units}"
        matrix = random.standard_normal((inputs, units)).astype("float32")
        bias = random.standard_normal(units).astype("float32")
        layer, four = (Layer(matrix, bits, 5, (-128, 127)) for bits in (8, 4))
        with tempfile.TemporaryDirectory() as folder:
            files = graphs(matrix, bias, folder)
            for batch in args.batches:
                rows = aligned(
                    random.standard_normal((batch, inputs)).astype("float32")
                )
                codes = aligned((32 * rows).clip(-128, 127).astype("int8"))
                floats = aligned(np.zeros((batch, units), "float32"))
                bytes_ = aligned(np.zeros((batch, units), "int8"))
                candidates = {
                    "ours": layer.call(library, rows, floats),
                    "ours 4 bits": four.call(library, rows, floats),
                    "ours codes": layer.call(library, codes, bytes_),
                    "LiteRT float": litert(f"any_float_{shape}", rows),
                    "LiteRT": litert(f"any_quantized_{shape}", rows),
                    "LiteRT codes": litert(f"any_int8_{shape}", codes),
                }
                for name, file in files.items():
                    candidates[name] = onnx_runtime(file, rows)
                others = [x for x in candidates if not x.startswith("ours")]
                ours = dict.fromkeys(others, "ours") | {"LiteRT codes": "ours codes"}
                times = fastest(candidates, args.seconds)
                report(f"{shape}, batch {batch}", times, ours)


if __name__ == "__main__":
    main()
