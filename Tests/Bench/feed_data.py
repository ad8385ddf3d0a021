"""Records for the feed's experiments. Made by the interpreter that has google_crc32c (feed_peers.Pod):

    feed_data.py records|tars DATA SIZE COUNT FILES     prints the directory
"""
import io
import struct
import sys
import tarfile
from pathlib import Path

import datasets


def records(data: Path, size: int, count: int, files: int) -> Path:
    """A directory of `files` TFRecord files with `count` records of `size` bytes in all.

    The payloads repeat after some, but for the first eight bytes of each, which are its number.
    """

    def make(target: Path) -> None:
        import google_crc32c

        target.mkdir(parents=True)
        source = datasets._keystream(key=40)
        filler = [source.stdout.read(max(0, size - 8)) for _ in range(64)]
        source.kill()
        source.wait()
        length = struct.pack("<Q", size)
        head = length + _masked_crc(google_crc32c.value(length))
        number = 0
        for index in range(files):
            with (target / f"part-{index:04}-of-{files:04}.tfrecord").open("wb") as file:
                for _ in range(number, (index + 1) * count // files):
                    payload = struct.pack("<Q", number) + filler[number % len(filler)]
                    payload = payload[:size]
                    file.write(head + payload + _masked_crc(google_crc32c.value(payload)))
                    number += 1

    return datasets._made(data / f"tfrecord-{size}x{count}", make)


def tars(data: Path, size: int, count: int, files: int) -> Path:
    """The same records as samples of WebDataset: NUMBER.bin in tar files."""

    def make(target: Path) -> None:
        target.mkdir(parents=True)
        source = datasets._keystream(key=41)
        filler = [source.stdout.read(size) for _ in range(64)]
        source.kill()
        source.wait()
        number = 0
        for index in range(files):
            with tarfile.open(target / f"part-{index:04}.tar", "w") as archive:
                for _ in range(number, (index + 1) * count // files):
                    member = tarfile.TarInfo(f"{number:08}.bin")
                    member.size = size
                    archive.addfile(member, io.BytesIO(filler[number % len(filler)]))
                    number += 1

    return datasets._made(data / f"tar-{size}x{count}", make)


def _masked_crc(crc: int) -> bytes:
    """As TFRecord stores it: rotated by 15 bits, with a constant added."""
    return struct.pack("<I", ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) & 0xFFFFFFFF)


if __name__ == "__main__":
    print({"records": records, "tars": tars}[sys.argv[1]](Path(sys.argv[2]), *map(int, sys.argv[3:6])))
