#!/usr/bin/env bash
# What a library of the pod gives and takes: kaml_* only, and nothing but libc, protobuf-c, libkaml and TensorFlow's C API.
# symbols.sh LIBRARY [PATTERN OF FURTHER EXPORTS]
set -euo pipefail
library=$1 also=${2:-^$}
exports=$(nm -D --defined-only "$library" | awk '$2 != "A" {print $3}' | sed 's/@.*//')
bad=$(grep -vE '^kaml_[a-z]' <<<"$exports" | grep -vE "$also" || true)
imports=$(nm -D --undefined-only "$library" | awk '{print $NF}')
foreign=$(grep -vE '@GLIBC_|@LIBPROTOBUF_C_|^kaml_[a-z]|@KAML_1$|^TF_[A-Z]|^_ITM_|^__gmon_start__$|^__cxa_finalize' <<<"$imports" || true)
needed=$(readelf -d "$library" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' |
  grep -vE '^(libc\.so\.6|libprotobuf-c\.so\.1|libkaml\.so\.1|libtensorflow_framework\.so\.2|ld-linux.*)$' || true)
if [[ -z $exports || -n $bad$foreign$needed ]]; then
  printf 'symbols: %s\n  exports that should not be: %s\n  foreign imports: %s\n  foreign libraries: %s\n' \
    "$library" "$bad" "$foreign" "$needed" >&2
  exit 1
fi
