#!/usr/bin/env bash
# Fuzzes every parser of outside bytes for the given number of seconds each (libFuzzer, address sanitizer).
# The corpus of each parser is kept under Tests/Fuzz/corpus; with KAML_FUZZ_KEEP=1 a run adds what it found.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=${1:-60}
parsers=(shard root pack log records names listing tfrecord tar jsonl index)
scratch=.build/fuzz
export KAML_FUZZ=1 SWIFT_BACKTRACE=enable=no ASAN_OPTIONS=detect_leaks=0

# gold prints thousands of warnings about the sanitizer's symbols; lld does not.
.ci/swift.sh build --scratch-path "$scratch" --product kaml-fuzz \
  -Xswiftc -sanitize=fuzzer,address -Xswiftc -use-ld=lld
"$scratch/debug/kaml-fuzz" seeds "$scratch/seeds"
for parser in "${parsers[@]}"; do
  corpus=Tests/Fuzz/corpus/$parser
  grown=$scratch/corpus/$parser
  mkdir -p "$corpus" "$grown"
  if ! "$scratch/debug/kaml-fuzz" "$parser" "$grown" "$corpus" "$scratch/seeds/$parser" -max_total_time="$seconds" -max_len=65536 \
    -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$scratch/$parser-" >"$scratch/$parser.log" 2>&1; then
    tail -n 40 "$scratch/$parser.log" >&2
    exit 1
  fi
  echo "fuzz $parser: $(sed -n 's/stat::number_of_executed_units: *//p' "$scratch/$parser.log") executions, no fault"
  if [[ -n ${KAML_FUZZ_KEEP:-} ]]; then
    "$scratch/debug/kaml-fuzz" "$parser" -merge=1 "$corpus" "$grown" >/dev/null 2>&1
  fi
done
