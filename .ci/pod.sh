#!/usr/bin/env bash
# What runs in pods (Sources/Pod): builds libkaml and the Python package, and tests them in environments of their own, with
# the newest and the oldest TensorFlow that this machine's Python can have.
#
#   .ci/pod.sh [STAGE...]     default: unit stub sanitize
#     unit       libkaml's own tests, its symbols, its generated code
#     stub       the Python tests against a stand-in agent, in both environments
#     agent      the Python tests against a real one, in both environments (KAMLD and KAML name the programs)
#     sanitize   the tests of streams under AddressSanitizer, UBSan, ThreadSanitizer and valgrind
#     wheel      the wheel, into .build/pod/dist
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=$PWD/.build/pod
mkdir -p "$out"
export TF_CPP_MIN_LOG_LEVEL=2 PYTHONDONTWRITEBYTECODE=1 MAKEFLAGS=

# What each environment has. Others may share it: POD_VENVS.
venvs=${POD_VENVS:-$out/venv}
declare -A packages=(
  [newest]="tensorflow-cpu==2.21.0 pytest nbclient ipykernel setuptools wheel"
  [oldest]="tensorflow-cpu==2.15.1 pytest"
)

environment() {
  local name=$1 list=${packages[$1]}
  local python=$venvs/$name/bin/python
  if [[ $(cat "$venvs/$name/packages" 2>/dev/null) != "$list" ]]; then
    echo "pod: making the environment $name: $list" >&2
    python3 -m venv --clear "$venvs/$name"
    # shellcheck disable=SC2086
    "$python" -m pip install -q $list >&2
    # Without CUDA where there is one at hand, which is ten times smaller.
    if [[ $name == newest ]]; then
      "$python" -m pip install -q torch==2.13.0+cpu 2>/dev/null || "$python" -m pip install -q torch >&2
    fi
    echo "$list" >"$venvs/$name/packages"
  fi
  echo "$python"
}

build() { make -s -C Sources/Pod/python/native BUILD="$out/native" >/dev/null; }

pytests() {
  local python
  build
  for name in newest oldest; do
    python=$(environment "$name")
    echo "pod: $1, $("$python" -c 'from importlib.metadata import version; print("TensorFlow", version("tensorflow-cpu"))')"
    (cd Sources/Pod/python && "$python" -m pytest -q -rs -p no:cacheprovider tests)
  done
}

for stage in "${@:-unit stub sanitize}"; do
  for step in $stage; do
    case $step in
      unit) make -s -C Sources/Pod/libkaml BUILD="$out/libkaml" test >/dev/null ;;
      stub) (unset KAMLD KAML && pytests "against a stand-in agent") ;;
      agent)
        : "${KAMLD:?names the agent}" "${KAML:?names the command}"
        KAMLD=$(realpath "$KAMLD") KAML=$(realpath "$KAML")
        export KAMLD KAML
        pytests "against $KAMLD"
        ;;
      sanitize)
        build
        python=$(environment newest)
        for kind in address,undefined thread valgrind; do
          echo "pod: $kind"
          BUILD=$out/sanitized-$kind Sources/Pod/python/tests/sanitized.sh "$kind" "$python"
        done
        ;;
      wheel)
        python=$(environment newest)
        "$python" -m pip wheel -q --no-build-isolation --no-deps -w "$out/dist" Sources/Pod/python
        ;;
      *)
        echo "pod: no stage $step" >&2
        exit 2
        ;;
    esac
  done
done
