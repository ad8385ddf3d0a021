#!/usr/bin/env bash
# Makes a fresh Debian 12 machine ready to build and test: installs the packages that are missing and
# looks for a Swift toolchain. Does nothing, quickly, when nothing is missing.
set -euo pipefail

packages=(
  build-essential pkg-config libfuse3-dev fuse3 libzstd-dev zlib1g-dev libssl-dev libcurl4-openssl-dev libyaml-dev protobuf-compiler
  strace attr systemd zstd xz-utils shellcheck python3 curl
  # Real S3 servers for the integration tests (Tests/Servers).
  ceph-mon ceph-osd radosgw ceph-common swift-proxy swift-account swift-container swift-object
  python3-venv python3-yaml
  # libkaml and its tests.
  protobuf-c-compiler libprotobuf-c-dev valgrind
  # What reads metrics and logs in the tests of Observability.
  prometheus rsyslog
)

missing=()
for package in "${packages[@]}"; do
  state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [[ $state == installed ]] || missing+=("$package")
done

if ((${#missing[@]})); then
  echo "setup: installing ${missing[*]}" >&2
  as_root=()
  ((EUID == 0)) || as_root=(sudo)
  # The servers are for tests, which start their own: installing them must not start any.
  if [[ ! -e /usr/sbin/policy-rc.d ]]; then
    trap '"${as_root[@]}" rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" install -m 755 /dev/stdin /usr/sbin/policy-rc.d
  fi
  "${as_root[@]}" apt-get update -q >&2
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -q -y --no-install-recommends "${missing[@]}" >&2
fi

if ! PATH=$PATH:/opt/swift/usr/bin command -v swift >/dev/null; then
  cat >&2 <<'MESSAGE'
setup: no Swift toolchain in PATH or in /opt/swift/usr/bin.
  Install Swift 6.3 or newer for Debian 12 from https://www.swift.org/install/linux/ (swiftly, or the tarball
  unpacked so that /opt/swift/usr/bin/swift exists), then run make again.
MESSAGE
  exit 1
fi

[[ -c /dev/fuse ]] || echo "setup: /dev/fuse is missing; mounts and the tests of them will fail (modprobe fuse)" >&2
