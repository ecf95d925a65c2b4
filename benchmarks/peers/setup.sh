#!/usr/bin/env bash
# Makes in build/peers what the peers need: an environment for each, our kernels
# alone as a library, and models to run. Needs Python 3.11, for which Larq Compute
# Engine has a wheel, and a project environment with TensorFlow: setup.sh [python]
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
project=${1:-.venv/bin/python}
python=${PYTHON311:-python3.11}
out=build/peers
mkdir -p "$out/objects"

if [ ! -d "$out/runtime" ]; then
  "$python" -m venv "$out/runtime"
  "$out/runtime/bin/pip" -q install ai-edge-litert numkong faiss-cpu numpy \
    onnx onnxruntime
fi
if [ ! -d "$out/larq" ]; then
  "$python" -m venv "$out/larq"
  "$out/larq/bin/pip" -q install tensorflow-cpu==2.16.1 tf_keras==2.16.0 larq \
    larq-compute-engine==0.16.0 "numpy<2" "setuptools<81"
fi

# The flags are those of setup.py; no TensorFlow is in the kernels.
avx2="-mavx2 -mfma -mpopcnt"
avx512="$avx2 -mavx512f -mavx512bw -mavx512vl -mavx512dq"
for source in keras_compress/csrc/kernels/*.cc; do
  case $source in
    *_avx2.cc) flags=$avx2 ;;
    *_avx512.cc) flags=$avx512 ;;
    *_avx512vnni.cc) flags="$avx512 -mavx512vnni" ;;
    *_avx512popcnt.cc) flags="$avx512 -mavx512vpopcntdq" ;;
    *_amx.cc) flags="$avx512 -mavx512vnni -mamx-tile -mamx-int8" ;;
    *_neon.cc) continue ;;
    *) flags="" ;;
  esac
  # shellcheck disable=SC2086
  "${CXX:-g++}" -O3 -std=c++17 -fPIC -ffp-contract=off -fvisibility=hidden $flags \
    -c "$source" -o "$out/objects/$(basename "$source" .cc).o"
done
"${CXX:-g++}" -shared "$out"/objects/*.o -o "$out/kernels.so" -pthread

TF_CPP_MIN_LOG_LEVEL=2 "$project" benchmarks/peers/models.py "$out/models"
