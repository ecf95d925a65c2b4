#!/usr/bin/env bash
# Runs the kernels under a sanitizer: sanitize.sh [address,undefined|thread] [folder]
source "$(dirname "${BASH_SOURCE[0]}")/compile.sh"
sanitizer=${1:-address,undefined}
OUT=${2:-$(mktemp -d)}
CXX=${CXX:-g++}
MACHINE=$(uname -m)
compile -O1 -g1 -fsanitize="$sanitizer" -fno-sanitize-recover=all
"$OUT/driver"
