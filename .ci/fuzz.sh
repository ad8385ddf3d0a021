#!/usr/bin/env bash
# Fuzzes every parser of outside bytes for the given number of seconds each (libFuzzer, address sanitizer).
# The corpus of each target is kept under Tests/Fuzz/corpus.
set -euo pipefail
echo "fuzz: there is no fuzz target yet" >&2
exit 1
