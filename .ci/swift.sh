#!/usr/bin/env bash
# Runs `swift VERB ...` from the repository root: finds the toolchain and turns the layer check on,
# so that an import outside the declared dependencies fails every build, whoever starts it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH=$PATH:/opt/swift/usr/bin

verb=$1
shift
case $verb in
  build | test | run) ;;
  *) exec swift "$verb" "$@" ;;
esac

# As warnings, which are then held against our targets only: the check looks at all packages, does not evaluate #if, and
# takes the `import System` that NIO has for Apple's platforms for one of our target of that name.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
swift "$verb" --explicit-target-dependency-import-check warn "$@" 2> >(tee "$log" >&2) || status=$?
# The tee above may still be writing.
sleep 0.1
strangers='Target (_NIOFileSystem|NIOFS) imports another target \(System\)'
if grep -E 'warning: Target .* imports another target' "$log" | grep -Ev "$strangers" >&2; then
  echo "error: a target imports what Package.swift does not list for it (above)" >&2
  exit 1
fi
exit "$status"
