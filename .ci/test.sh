#!/usr/bin/env bash
# Runs `swift test ...`; when it fails, says at the end, once more, which tests failed and how: the end is what
# people and continuous integration read.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit

mkdir -p .build
log=.build/test.log
.ci/swift.sh test "$@" 2>&1 | tee "$log"
status=${PIPESTATUS[0]}
if ((status != 0)); then
  printf '\n----- what failed\n'
  grep -E '✘|error:|Fatal error|exited with' "$log" | tail -40
fi
exit "$status"
