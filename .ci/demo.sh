#!/usr/bin/env bash
# `make run`: one walk through the main job on real files. Makes a store, commits a tree twice, mounts the second
# version, compares every byte with the source, and shows what deduplication and the cache saved.
# DATA=/some/dir uses your own tree (it is only read); STORE=/some/dir or STORE=s3://bucket/prefix keeps the store there.
# A bucket is reached as the command reaches it: KAML_S3_ENDPOINT and the usual AWS_ variables.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

kaml=${KAML_BIN:-$PWD/.build/release/kaml}
work=$(mktemp -d -t kaml-demo.XXXXXX)
mount=$work/mount
cache=$work/cache
store=${STORE:-$work/store}
[[ $store == *://* ]] || store=file://$(realpath -m "$store")
export KAML_STORE=$store

cleanup() {
  if mountpoint -q "$mount"; then
    "$kaml" umount "$mount" || umount -l "$mount" || true
  fi
  mountpoint -q "$mount" || rm -rf -- "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

step() { if [[ -t 1 ]]; then printf '\n\033[1m== %s\033[0m\n' "$*"; else printf '\n== %s\n' "$*"; fi; }
show() {
  printf '$ %s\n' "kaml $*"
  "$kaml" "$@"
}

seconds_since() { awk -v from="$1" -v to="$EPOCHREALTIME" 'BEGIN { printf "%.1f", to - from }'; }

# The kernel source as Debian ships it: about 80 k files, 1.3 GB. Downloaded and unpacked once.
kernel_source() {
  local home=$PWD/.build/data
  if [[ ! -e $home/linux-source-6.1/Makefile ]]; then
    rm -rf -- "$home/download"
    mkdir -p "$home/download/tree"
    echo "fetching the Debian package linux-source-6.1 (140 MB)" >&2
    (cd "$home/download" && apt-get -q -o APT::Sandbox::User=root download linux-source-6.1 >&2)
    dpkg-deb -x "$home"/download/linux-source-6.1_*.deb "$home/download/package"
    tar -xf "$home/download/package/usr/src/linux-source-6.1.tar.xz" -C "$home/download/tree" --strip-components=1
    mv "$home/download/tree" "$home/linux-source-6.1"
    rm -rf -- "$home/download"
  fi
  printf '%s\n' "$home/linux-source-6.1"
}

# One line for each file, with its checksum, in a fixed order.
checksums() { (cd "$1" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum); }

if [[ -n ${DATA:-} ]]; then
  data=$(realpath -e "$DATA")
else
  data=$(kernel_source)
fi
dataset=demo
mkdir -p "$mount" "$cache"

step "A store is a directory or a prefix of a bucket"
"$kaml" ls >/dev/null 2>&1 || show store init --store "$KAML_STORE"

step "Commit $data"
show commit "$dataset" "$data" -m "first version"

step "Change a few files of a copy, commit again: only what is new is stored"
second=$work/copy
if (($(du -s --block-size=1G "$data" | cut -f 1) > 8)); then
  echo "$data is larger than 8 GiB: it is committed again as it is, without a changed copy"
  second=$data
else
  cp -a --reflink=auto "$data" "$second"
  find "$second" -type f -size +0 -size -1024k -print0 | LC_ALL=C sort -z | sed -zn '1~4000p' >"$work/touched"
  xargs -0 -r sed -i '$ a changed by make run' <"$work/touched"
  echo "changed $(tr -cd '\0' <"$work/touched" | wc -c) files"
fi
show commit "$dataset" "$second" -m "second version"
show diff "$dataset@main~1" "$dataset@main"

step "Mount the second version and read every byte back"
show mount "$dataset@main" "$mount" --cache-dir "$cache"
checksums "$second" >"$work/expected"
start=$EPOCHREALTIME
checksums "$mount" >"$work/first"
echo "first read through the mount (store -> cache -> reader): $(seconds_since "$start") s, checksums included"
start=$EPOCHREALTIME
checksums "$mount" >"$work/second"
echo "second read (from the node's own cache): $(seconds_since "$start") s"
cmp "$work/expected" "$work/first"
cmp "$work/expected" "$work/second"
echo "$(wc -l <"$work/expected") files: every checksum equals the source's"

step "What deduplication and the cache saved"
show stats

step "Unmount"
show umount "$mount"
# The cache writes its totals every few seconds and when it closes.
show stats --cache-dir "$cache"

kept=""
[[ -n ${STORE:-} ]] || kept=" STORE=/some/dir"
cat <<NEXT

Next:
  make run DATA=/your/dataset$kept      your own tree; STORE=DIR keeps the store
  .build/release/kaml --help            every verb; --store URL or KAML_STORE=file:///some/dir
  .build/release/kaml doctor            what this machine has, lacks, and how to fix it
  make bench GROUP=store                the figures, against restic and borg
NEXT
