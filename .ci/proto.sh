#!/usr/bin/env bash
# Regenerates the Swift sources of proto/ with the plugins of the package versions that are in use (messages into
# KamlProtos, gRPC stubs into KamlRPC), and the C sources of libkaml. The result is checked in, so that a build needs neither
# protoc nor this script.
# Not SwiftPM's build plugin: that one compiles a protoc of its own from C++, for nine minutes.
#
# CURRENT lists the checksums of the inputs and outputs; a unit test compares them, so that a forgotten run shows.
# SCRATCH: the build directory (default .build).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scratch=${SCRATCH:-.build}
options=Visibility=Package,UseAccessLevelOnImports=true,FileNaming=PathToUnderscores

for plugin in protoc-gen-swift protoc-gen-grpc-swift-2; do
  .ci/swift.sh build -c release --scratch-path "$scratch" --product "$plugin"
done
export LC_ALL=C

# generate OUT SUFFIX PROTO... -- PROTOC-OPTION...
generate() {
  local out=$1 suffix=$2 protos=()
  shift 2
  while [[ $1 != -- ]]; do
    protos+=("$1")
    shift
  done
  shift
  mkdir -p "$out"
  rm -f "$out"/*"$suffix" "$out/CURRENT"
  protoc --proto_path=proto "$@" "${protos[@]}"
  sha256sum "${protos[@]}" "$out"/*"$suffix" >"$out/CURRENT"
}

mapfile -t protos < <(find proto -name '*.proto' | sort)
mapfile -t services < <(grep -l '^service ' "${protos[@]}")
messages=Sources/Ground/KamlProtos/Generated
stubs=Sources/Ground/KamlRPC/Generated
generate $messages .pb.swift "${protos[@]}" -- \
  --plugin="$scratch/release/protoc-gen-swift" --swift_out=$messages --swift_opt=$options
generate $stubs .grpc.swift "${services[@]}" -- \
  --plugin=protoc-gen-grpc-swift="$scratch/release/protoc-gen-grpc-swift-2" --grpc-swift_out=$stubs \
  --grpc-swift_opt=$options,ExtraModuleImports=KamlProtos

# What pods speak, in C. Flat, so that nothing is included by a path.
c=Sources/Pod/libkaml/generated
rm -f $c/*.pb-c.[ch] $c/CURRENT
protoc --proto_path=proto/kaml/feed/v1 --c_out=$c feed.proto
sha256sum proto/kaml/feed/v1/feed.proto $c/*.pb-c.[ch] >$c/CURRENT
