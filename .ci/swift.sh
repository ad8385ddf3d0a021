#!/usr/bin/env bash
# Runs `swift VERB ...` from the repository root: finds the toolchain and turns the layer check on,
# so that an import outside the declared dependencies fails every build, whoever starts it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH=$PATH:/opt/swift/usr/bin

verb=$1
shift
case $verb in
  build | test | run) exec swift "$verb" --explicit-target-dependency-import-check error "$@" ;;
  *) exec swift "$verb" "$@" ;;
esac
