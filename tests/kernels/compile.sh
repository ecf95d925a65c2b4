# Compiles the kernels and the driver with the compiler $CXX and flags "$@", each
# file with the flags of its level, into $OUT/driver. Sourced by the other scripts.
set -eu
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
kernels=$here/../../keras_compress/csrc/kernels
avx2="-mavx2 -mfma -mpopcnt"
avx512="$avx2 -mavx512f -mavx512bw -mavx512vl -mavx512dq"

compile() {
  local objects=() source flags
  for source in "$kernels"/*.cc "$here"/sanitize_*.cc; do
    flags=""
    case $source in
      *_avx2.cc) [ "$MACHINE" = x86_64 ] || continue; flags=$avx2 ;;
      *_avx512.cc) [ "$MACHINE" = x86_64 ] || continue; flags=$avx512 ;;
      *_avx512vnni.cc)
        [ "$MACHINE" = x86_64 ] || continue; flags="$avx512 -mavx512vnni" ;;
      *_avx512popcnt.cc)
        [ "$MACHINE" = x86_64 ] || continue; flags="$avx512 -mavx512vpopcntdq" ;;
      *_amx.cc)
        [ "$MACHINE" = x86_64 ] || continue
        flags="$avx512 -mavx512vnni -mamx-tile -mamx-int8" ;;
      *_neon.cc) [ "$MACHINE" = aarch64 ] || continue ;;
    esac
    objects+=("$OUT/$(basename "$source" .cc).o")
    # shellcheck disable=SC2086
    "$CXX" -std=c++17 -ffp-contract=off -I"$kernels" "$@" $flags \
      -c "$source" -o "${objects[-1]}"
  done
  "$CXX" "$@" "${objects[@]}" -o "$OUT/driver" -pthread
}
