#!/usr/bin/env bash
# The tests of streams with libkaml built under a sanitizer, and a program of C under valgrind (leaks, too).
# sanitized.sh address,undefined|thread|valgrind [PYTHON]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
kind=$1 python=${2:-python3} build=${BUILD:-build/sanitized-$1}
mkdir -p "$build/kaml"
build=$(realpath "$build")

if [[ $kind == valgrind ]]; then
  make -s -C ../libkaml BUILD="$build/native" OPTIMIZE=-O1\ -g all programs >/dev/null
  "$python" - "$build" <<'PYTHON'
import os, subprocess, sys, tempfile
sys.path.insert(0, "tests")
build = sys.argv[1]
os.environ["KAML_PACKAGE"] = os.path.abspath("kaml")
import conftest
conftest.LIBRARY = os.path.join(build, "native", "libkaml.so.1")
with tempfile.TemporaryDirectory() as directory:
    os.makedirs(f"{directory}/pets/cat")
    for i in range(50):
        with open(f"{directory}/pets/cat/{i}", "wb") as file:
            file.write(conftest.blob(i, 100 * i))
    valgrind = ["valgrind", "-q", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=all"]
    for arguments, status in [([], 0), (["--lend"], 0), (["--misbehave", "wild-entry"], 1), (["--misbehave", "trouble-at=3"], 1),
                              (["--misbehave", "no-fds"], 0), (["--misbehave", "unsealed"], 1), (["--misbehave", "garbage"], 1)]:
        stub = conftest.Stub(f"{directory}/feed.sock", directory).start(*arguments)
        try:
            done = subprocess.run(
                [*valgrind, f"{build}/native/count_records", "pets@main", "7"],
                env=dict(os.environ, KAML_FEED_SOCKET=stub.socket), capture_output=True, text=True, timeout=120,
            )
        finally:
            stub.stop()
        print(arguments, done.stdout.strip(), done.stderr.strip())
        if done.returncode != status:
            sys.exit(f"valgrind: {arguments}: status {done.returncode}")
    subprocess.run([*valgrind, f"{build}/native/unit", "../../../Tests/RecordIndexTests/order-vectors.json"], check=True)
PYTHON
  exit
fi

cp kaml/*.py "$build/kaml/"
make -s -C native BUILD="$build/native" OUT="$build/kaml" SANITIZE="-fsanitize=$kind -fno-omit-frame-pointer" >/dev/null
make -s -C ../libkaml BUILD="$build/unit" SANITIZE="-fsanitize=$kind" "$build/unit/unit" >/dev/null
"$build/unit/unit" ../../../Tests/RecordIndexTests/order-vectors.json
runtime=$(gcc -print-file-name="lib$([[ $kind == thread ]] && echo tsan || echo asan).so")
# Python itself leaks, and forks with threads.
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 TSAN_OPTIONS=report_signal_unsafe=0:die_after_fork=0:halt_on_error=1:exitcode=66
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 KAML_PACKAGE=$build/kaml
LD_PRELOAD=$runtime "$python" -m pytest -q -p no:cacheprovider tests/test_stream.py
