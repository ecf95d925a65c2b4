#!/usr/bin/env bash
# Compares the NEON kernels with the scalar ones on an emulated machine: neon.sh [folder]
source "$(dirname "${BASH_SOURCE[0]}")/compile.sh"
OUT=${1:-$(mktemp -d)}
CXX=${AARCH64_CXX:-aarch64-linux-gnu-g++}
MACHINE=aarch64
compile -O2 -static
${QEMU_AARCH64:-qemu-aarch64-static} "$OUT/driver"
