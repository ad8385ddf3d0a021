"""The data that is measured: real trees from Debian and PyPI, and generated files. Made once, kept under `data`."""
import shutil
import subprocess
import sys
from pathlib import Path

from measure import run

KERNELS = ("6.1.170-3", "6.1.192-2")
WHEELS = ("2.20.0", "2.21.0")
GIB = 1 << 30


def kernel(data: Path, version: str) -> Path:
    """The kernel source of one Debian package version."""

    def make(target: Path) -> None:
        work = target.with_suffix(".deb")
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", f"linux-source-6.1={version}", cwd=work)
        run("dpkg-deb", "-x", next(work.glob("*.deb")), work / "tree")
        target.mkdir()
        run("tar", "-xf", work / "tree/usr/src/linux-source-6.1.tar.xz", "-C", target, "--strip-components=1")
        shutil.rmtree(work)

    return _made(data / f"kernel-{version}", make)


def wheel(data: Path, version: str) -> Path:
    """A TensorFlow wheel (the CPU build, for CPython 3.11 on x86-64), unpacked: 1.2 GB, most of it compiled code."""

    def make(target: Path) -> None:
        work = target.with_suffix(".whl")
        platforms = ["manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"]
        run(sys.executable, "-m", "pip", "-q", "download", "--no-deps", "--only-binary=:all:",
            "--python-version", "3.11", *(f"--platform={name}" for name in platforms),
            "-d", work, f"tensorflow-cpu=={version}")
        run(sys.executable, "-m", "zipfile", "-e", next(work.glob("*.whl")), target)
        shutil.rmtree(work)

    return _made(data / f"wheel-{version}", make)


def one_large_file(data: Path) -> Path:
    """A directory with one incompressible file of 4 GiB."""
    return _made(data / "large-4g", lambda target: _incompressible(target / "large.bin", 4 * GIB, key=1))


def four_large_files(data: Path) -> Path:
    """A directory with four incompressible files of 2 GiB."""

    def make(target: Path) -> None:
        for number in range(4):
            _incompressible(target / f"part-{number}.bin", 2 * GIB, key=10 + number)

    return _made(data / "large-4x2g", make)


def small_files(data: Path, count: int) -> Path:
    """A directory tree of `count` incompressible files of 64 KiB, a hundred in each directory."""

    def make(target: Path) -> None:
        source = _keystream(key=20)
        for number in range(count):
            folder = target / f"{number // 100:04}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number:06}.jpg").write_bytes(source.stdout.read(64 << 10))
        source.kill()
        source.wait()

    return _made(data / f"small-{count}", make)


def change_one_percent(tree: Path, files: list[Path]) -> list[Path]:
    """Edits every hundredth file in place: one line in its middle is replaced and one is added at its end."""
    changed = files[::100]
    for path in changed:
        lines = path.read_bytes().splitlines(keepends=True)
        lines[len(lines) // 2] = b"/* edited by the bench: %s */\n" % path.name.encode()
        path.write_bytes(b"".join(lines) + b"/* and one line more */\n")
    return changed


def zstd_bytes(files: list[Path]) -> int:
    """What the files take, each through zstd -3 on its own."""
    command = ["zstd", "-3", "-q", "-c"]
    return sum(len(subprocess.run([*command, path], check=True, capture_output=True).stdout) for path in files)


def _made(target: Path, make) -> Path:
    """Makes the data set unless it is there. It appears under its name only when it is complete."""
    if not target.exists():
        print(f"   making {target.name}", file=sys.stderr, flush=True)
        partial = target.with_name(target.name + ".part")
        shutil.rmtree(partial, ignore_errors=True)
        make(partial)
        partial.rename(target)
    return target


def _incompressible(path: Path, size: int, key: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    source = _keystream(key)
    with path.open("wb") as file:
        subprocess.run(["head", "-c", str(size)], stdin=source.stdout, stdout=file, check=True)
    source.kill()
    source.wait()


def _keystream(key: int) -> subprocess.Popen:
    """An endless AES counter stream: random to any compressor, the same on every machine, 1 GB/s."""
    zeros = open("/dev/zero", "rb")
    command = ["openssl", "enc", "-aes-128-ctr", "-nosalt", "-K", f"{key:032x}", "-iv", "0" * 32]
    process = subprocess.Popen(command, stdin=zeros, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    zeros.close()
    return process
