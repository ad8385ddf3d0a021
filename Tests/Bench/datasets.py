"""The data that is measured: real trees from Debian and PyPI, and generated files. Made once, kept under `data`."""
import filecmp
import random
import shutil
import subprocess
import sys
from pathlib import Path

from measure import regular_files, run

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


def one_large_file(data: Path, size: int = 4 * GIB) -> Path:
    """A directory with one incompressible file, of 4 GiB unless told."""
    name = "large-4g" if size == 4 * GIB else f"large-{size}"
    return _made(data / name, lambda target: _incompressible(target / "large.bin", size, key=1))


def large_files(data: Path, count: int, size: int) -> Path:
    """A directory with a few incompressible files."""

    def make(target: Path) -> None:
        for number in range(count):
            _incompressible(target / f"part-{number}.bin", size, key=10 + number)

    return _made(data / (f"large-{count}x2g" if size == 2 * GIB else f"large-{count}x{size}"), make)


def small_files(data: Path, count: int, size: int = 64 << 10) -> Path:
    """A directory tree of `count` incompressible files of one size, a hundred in each directory."""

    def make(target: Path) -> None:
        source = _keystream(key=20)
        for number in range(count):
            folder = target / f"{number // 100:04}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number:06}.jpg").write_bytes(source.stdout.read(size))
        source.kill()
        source.wait()

    return _made(data / (f"small-{count}" if size == 64 << 10 else f"small-{count}x{size}"), make)


def edit_one_percent(file: Path, piece: int = 1 << 20) -> tuple[int, int]:
    """Overwrites runs of `piece` bytes at random places, one percent in all; gives the bytes written, and the bytes of
    the 1 MiB chunks that they lie in."""
    size, places, chunks = file.stat().st_size, random.Random(7), set()
    count = max(1, size // 100 // piece)
    with file.open("r+b") as opened:
        for _ in range(count):
            start = places.randrange(size - piece)
            opened.seek(start)
            opened.write(places.randbytes(piece))
            chunks.update(range(start >> 20, (start + piece - 1 >> 20) + 1))
    return count * piece, len(chunks) << 20


def changed_files(old: Path, new: Path) -> list[Path]:
    """Files of `new` that `old` has not, or has with other bytes."""
    found = []
    for path in regular_files(new):
        other = old / path.relative_to(new)
        if not (other.is_file() and other.stat().st_size == path.stat().st_size
                and filecmp.cmp(path, other, shallow=False)):
            found.append(path)
    return found


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
