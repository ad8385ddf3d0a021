#!/usr/bin/env bash
# Fuzzes every parser of outside bytes for the given number of seconds each (libFuzzer, address sanitizer).
# The corpus of each target is kept under Tests/Fuzz/corpus; what a run finds is added with KAML_FUZZ_KEEP=1.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=${1:-60}
targets=(FuzzShard FuzzRoot FuzzPack FuzzLog FuzzRecords FuzzNames)
scratch=.build/fuzz
export KAML_FUZZ=1 SWIFT_BACKTRACE=enable=no

for target in "${targets[@]}"; do
  .ci/swift.sh build --scratch-path "$scratch" --product "$target" \
    -Xswiftc -sanitize=fuzzer,address -Xswiftc -parse-as-library -Xlinker --allow-multiple-definition
done
for target in "${targets[@]}"; do
  corpus=Tests/Fuzz/corpus/$target
  grown=$scratch/corpus/$target
  mkdir -p "$corpus" "$grown"
  echo "fuzz: $target for $seconds s"
  if ! ASAN_OPTIONS=detect_leaks=0 "$scratch/debug/$target" "$grown" "$corpus" \
    -max_total_time="$seconds" -max_len=65536 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="$scratch/$target-" >"$scratch/$target.log" 2>&1; then
    tail -n 40 "$scratch/$target.log" >&2
    exit 1
  fi
  grep -E 'number_of_executed_units|cov:' "$scratch/$target.log" | tail -n 2
  if [[ -n ${KAML_FUZZ_KEEP:-} ]]; then
    "$scratch/debug/$target" -merge=1 "$corpus" "$grown" >/dev/null 2>&1
  fi
done
