#!/usr/bin/env bash
# Regenerates the Swift sources of proto/ with the plugin of the swift-protobuf version the package uses.
# The result is checked in, so that a build needs neither protoc nor this script.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

.ci/swift.sh build -c release --product protoc-gen-swift
mapfile -t files < <(cd proto && find . -name '*.proto' -printf '%P\n' | LC_ALL=C sort)
protoc --plugin=.build/release/protoc-gen-swift -I proto \
  --swift_out=Sources/Ground/KamlProtos \
  --swift_opt=Visibility=Package --swift_opt=UseAccessLevelOnImports=true --swift_opt=FileNaming=PathToUnderscores \
  "${files[@]}"
