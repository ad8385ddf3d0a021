"""The declarations that the plugins are built with are those of the TensorFlow at hand; the libraries give and take only what
they should."""

import glob
import os
import subprocess

import pytest

import conftest

NATIVE = os.path.join(conftest.HERE, "..", "native")
SYMBOLS = os.path.join(conftest.HERE, "..", "..", "libkaml", "tests", "symbols.sh")


def printed(tmp_path, name, *arguments):
    program = str(tmp_path / name)
    subprocess.run(["cc", "-std=gnu11", "-w", "-o", program, os.path.join(conftest.HERE, "abi.c"), *arguments], check=True)
    return subprocess.run([program], check=True, capture_output=True, text=True).stdout.splitlines()


def test_the_declarations_are_tensorflows(tmp_path):
    tensorflow = pytest.importorskip("tensorflow", reason="no TensorFlow in this environment")
    include = tensorflow.sysconfig.get_include()
    strings = glob.glob(f"{include}/**/tsl/platform/ctstring_internal.h", recursive=True)
    assert strings
    (tmp_path / "tsl_ctstring.h").write_text(f'#include "{strings[0]}"\n')
    theirs = printed(tmp_path, "theirs", "-DTENSORFLOW", f"-I{include}", f"-I{tmp_path}")
    assert theirs == printed(tmp_path, "ours", f"-I{NATIVE}")


@pytest.mark.parametrize(
    "library, further", [("libkaml.so.1", "^$"), ("libkaml_tf.so", "^$"), ("libkaml_tffs.so", "^TF_InitPlugin$")]
)
def test_libraries_give_and_take_only_what_they_should(library, further):
    subprocess.run([SYMBOLS, os.path.join(conftest.PACKAGE, library), further], check=True)
