"""The fallback where there is no agent: the batches that it would give, read from the files of a mount.

Formats FILES and TFRECORD (not compressed). The order, the shards and the numbers of records are the agent's."""

from __future__ import annotations

import ctypes
import fnmatch
import os
import re
import struct
import threading

import numpy as np

from ._library import Code, COrder, Error, LIBRARY
from ._options import ORDERS, Options, Token
from ._stream import Batch, Column, Data, Values

ORDER_VERSION = 1
TFRECORD_NAME = re.compile(rb".\.(tfrecord|tfrecords|tfrec)(-\d+-of-\d+)?$", re.IGNORECASE)
# Of a TFRecord: length and its checksum before the bytes, their checksum after them.
FRAME_HEAD, FRAME_TAIL = 12, 4


def _walk(root: str) -> list[bytes]:
    """Paths of the files, in a snapshot's order: by directory, then by name."""
    base = os.fsencode(root)
    found = []
    for directory, _, names in os.walk(base):
        below = os.path.relpath(directory, base)
        parts = () if below == b"." else tuple(below.split(b"/"))
        found += [(parts, name) for name in names if not os.path.islink(os.path.join(directory, name))]
    return [b"/".join((*parts, name)) for parts, name in sorted(found)]


def _is_below(path: bytes, patterns: list[str]) -> bool:
    text = os.fsdecode(path)
    for pattern in patterns:
        if text == pattern or text.startswith(pattern + "/"):
            return True
        if any(mark in pattern for mark in "*?"):
            parts = pattern.split("/")
            if fnmatch.fnmatchcase("/".join(text.split("/")[: len(parts)]), pattern):
                return True
    return False


class MountSource:
    """As Stream, from a mount. Every batch is a copy."""

    def __init__(self, options: Options, path: str):
        self.options, self.path = options, path
        self.notice, self.lends_cache, self.window_batches = "", False, 1
        if options.order not in ("shuffled", "sequential"):
            raise Error(Code.UNSUPPORTED, f"A mount has no order {options.order!r}.", "Use order='shuffled'.")
        files = [file for file in _walk(path) if not options.paths or _is_below(file, list(options.paths))]
        if not files:
            raise Error(Code.NOT_FOUND, f"{path} has no files.", "Look whether the dataset is mounted there.")
        self._format(files)
        self.snapshot = self._snapshot()
        token = options.token
        if token and self.snapshot and token.snapshot and token.snapshot != self.snapshot:
            raise Error(
                Code.NOT_FOUND,
                f"The token is of snapshot {token.snapshot}, the mount {path} is of {self.snapshot}.",
                "Mount the snapshot that the token names.",
            )
        self._begin = token or Token(self.snapshot, options.seed, 0, 0, ORDER_VERSION, ORDERS[options.order])
        self.first_steps, self.steps = self._steps_from(self._begin.ordinal), self._steps_from(0)
        epochs = options.epochs
        self.total_steps = None if epochs is None else self.first_steps + (epochs - 1) * self.steps
        if self.records == 0:
            self.total_steps = 0
        self._lock, self._orders = threading.Lock(), {}

    def _format(self, files: list[bytes]) -> None:
        options = self.options
        named = [file for file in files if TFRECORD_NAME.search(file)]
        if options.format not in (None, "files", "tfrecord"):
            raise Error(Code.UNSUPPORTED, f"A mount cannot be read as {options.format}.", "Run the node's agent.")
        if options.format == "tfrecord" or (options.format is None and named):
            self._files = named or files
            self._places = np.array(
                [(number, *place) for number, file in enumerate(self._files) for place in self._frames(file)], np.int64
            ).reshape(-1, 3)
            columns = [Column("record", "bytes", 0)]
        else:
            self._files = files
            sizes = [os.path.getsize(os.path.join(os.fsencode(self.path), file)) for file in files]
            self._places = np.array([(i, 0, size) for i, size in enumerate(sizes)], np.int64).reshape(-1, 3)
            columns = [Column("record", "bytes", 0), Column("label", "int64", 0), Column("path", "bytes", 0)]
            self._label()
        self.records = len(self._places)
        if options.columns is not None:
            known = {column.name: column for column in columns}
            for name in options.columns:
                if name not in known:
                    raise Error(Code.NOT_FOUND, f"{options.dataset} has no column {name!r}.", f"Take of {', '.join(known)}.")
            columns = [known[name] for name in options.columns]
        self.columns = tuple(columns)

    def _label(self) -> None:
        """Numbers the directories right below the one that all files have in common."""
        parts = [file.split(b"/")[:-1] for file in self._files]
        depth = len(os.path.commonprefix(parts))
        names = [part[depth] if len(part) > depth else None for part in parts]
        numbers = {name: number for number, name in enumerate(sorted({name for name in names if name is not None}))}
        self._labels = np.array([numbers.get(name, -1) for name in names], np.int64)

    def _frames(self, file: bytes):
        path = os.path.join(os.fsencode(self.path), file)
        size, at = os.path.getsize(path), 0
        with open(path, "rb", buffering=1 << 18) as stream:
            while at < size:
                head = stream.read(FRAME_HEAD)
                length = struct.unpack_from("<Q", head)[0] if len(head) == FRAME_HEAD else size
                if length > size - at - FRAME_HEAD - FRAME_TAIL:
                    raise Error(Code.CORRUPT, f"{os.fsdecode(path)} is cut off at byte {at}.", "Mend the dataset.")
                yield at + FRAME_HEAD, length
                at += FRAME_HEAD + length + FRAME_TAIL
                stream.seek(at)

    def _snapshot(self) -> str:
        try:
            return os.getxattr(self.path, "user.kaml.snapshot").decode()
        except OSError:
            return ""  # A plain directory, whose version nobody knows.

    def _steps_from(self, ordinal: int) -> int:
        options = self.options
        return LIBRARY.kaml_order_steps(
            self.records, ordinal, options.batch_size, options.shard[1], int(options.drop_remainder)
        )

    def token(self, position: int) -> Token:
        """As Stream.token."""
        epoch, step, ordinal = self._begin.epoch, position, self._begin.ordinal
        if position >= self.first_steps and self.steps > 0:
            epoch += 1 + (position - self.first_steps) // self.steps
            step, ordinal = (position - self.first_steps) % self.steps, 0
        ordinal += step * self.options.shard[1] * self.options.batch_size
        return Token(self.snapshot, self._begin.seed, epoch, ordinal, ORDER_VERSION, ORDERS[self.options.order])

    def _order(self, epoch: int) -> COrder:
        with self._lock:
            order = self._orders.get(epoch)
            if order is None:
                order = COrder()
                begin = self._begin
                if LIBRARY.kaml_order_init(
                    ctypes.byref(order), begin.order_version or ORDER_VERSION, ORDERS[self.options.order], self.records, begin.seed, epoch, 1, 1
                ):
                    raise Error(Code.UNSUPPORTED, f"There is no order of version {begin.order_version}.", "Update kaml.")
                self._orders = {epoch: order}
        return order

    def take(self, position: int, timeout: float | None = None) -> Batch:
        """As Stream.take."""
        if self.total_steps is not None and position >= self.total_steps:
            raise Error(Code.END, f"The stream ended after {self.total_steps} batches.")
        options, token = self.options, self.token(position)
        order, first = self._order(token.epoch), token.ordinal + options.shard[0] * options.batch_size
        places = list(range(first, min(first + options.batch_size, self.records)))
        missing = options.batch_size - len(places) if options.pad_remainder and self.records else 0
        places += [place % self.records for place in range(missing)]
        rows = np.array([LIBRARY.kaml_order_record(ctypes.byref(order), place) for place in places], np.int64)
        columns = {column.name: self._column(column.name, rows) for column in self.columns}
        return Batch(position, len(rows), columns, missing > 0)

    def _column(self, name: str, rows: np.ndarray) -> Data:
        if name == "label":
            return self._labels[rows]
        if name == "path":
            values = [self._files[self._places[row, 0]] for row in rows]
        else:
            values = [self._read(row) for row in rows]
        offsets = np.zeros(len(values) + 1, np.int64)
        np.cumsum([len(value) for value in values], out=offsets[1:])
        return Values.of(np.frombuffer(bytearray(b"".join(values)), np.uint8), offsets, rows)

    def _read(self, row: int) -> bytes:
        number, offset, length = (int(part) for part in self._places[row])
        path = os.path.join(os.fsencode(self.path), self._files[number])
        with open(path, "rb", buffering=0) as file:
            file.seek(offset)
            value = bytearray()
            while len(value) < length and (piece := file.read(length - len(value))):
                value += piece
        if len(value) != length:
            raise Error(Code.CORRUPT, f"{os.fsdecode(path)} is shorter than it was.", "Mount the dataset again.")
        return bytes(value)

    def close(self) -> None:
        """Nothing is held."""
