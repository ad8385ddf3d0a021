#!/usr/bin/env bash
# Regenerates the Swift sources of proto/ with the plugin of the swift-protobuf version the package uses.
# The result is checked in, so that a build needs neither protoc nor this script. Not SwiftPM's build plugin: that one
# compiles a protoc of its own from C++, for nine minutes.
#
# CURRENT lists the checksums of the inputs and outputs; a unit test compares them, so that a forgotten run shows.
# SCRATCH: the build directory (default .build).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scratch=${SCRATCH:-.build}
out=Sources/Ground/KamlProtos/Generated

.ci/swift.sh build -c release --scratch-path "$scratch" --product protoc-gen-swift
export LC_ALL=C
mapfile -t protos < <(find proto -name '*.proto' | sort)
mkdir -p "$out"
rm -f "$out"/*.pb.swift "$out/CURRENT"
protoc --plugin="$scratch/release/protoc-gen-swift" --proto_path=proto --swift_out="$out" \
  --swift_opt=Visibility=Package,UseAccessLevelOnImports=true,FileNaming=PathToUnderscores \
  "${protos[@]}"
sha256sum "${protos[@]}" "$out"/*.pb.swift >"$out/CURRENT"
