"""Streams of batches, and how their memory becomes NumPy arrays without a copy."""

from __future__ import annotations

import collections.abc
import ctypes
import dataclasses
import threading
import time
from collections.abc import Iterator
from typing import Protocol, Union

import numpy as np

from ._client import Client
from ._library import (
    CColumnData,
    CColumnInfo,
    CCounters,
    CCursor,
    CError,
    Code,
    CStreamInfo,
    Error,
    FOREVER,
    KIND_BYTES,
    KIND_INT64,
    LIBRARY,
    check,
)
from ._options import Options, Token

VALUE = np.dtype([("data", np.uint64), ("length", np.uint64), ("record", np.uint64)])
# Between looks at whether somebody pressed Ctrl-C.
SLICE_NS = 100_000_000


@dataclasses.dataclass(frozen=True)
class Column:
    """Of a stream: "bytes" (of any length), "int64", or "uint8" with `width` bytes for each record."""

    name: str
    kind: str
    width: int


class Values(collections.abc.Sequence):
    """A bytes column of a batch: one value for each record, each a read-only array of uint8.

    Attributes:
        packed: All values side by side, or None when they do not lie so.
        offsets: Where each begins in `packed`, and where the last one ends; or None.
    """

    def __init__(self, views: np.ndarray, owner, packed: np.ndarray | None, offsets: np.ndarray | None):
        self._views, self._owner, self.packed, self.offsets = views, owner, packed, offsets

    def __len__(self) -> int:
        return len(self._views)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        view = self._views[index]
        return array_at(int(view["data"]), int(view["length"]), self._owner)

    def bytes(self, index: int) -> bytes:
        """A copy of one value."""
        view = self._views[index]
        return ctypes.string_at(int(view["data"]), int(view["length"]))

    def tolist(self) -> list[bytes]:
        """Copies of all values."""
        return [ctypes.string_at(data, length) for data, length, _ in self._views.tolist()]

    @property
    def records(self) -> np.ndarray:
        """Numbers of the records in the snapshot."""
        return self._views["record"].astype(np.int64)

    @property
    def lengths(self) -> np.ndarray:
        """Bytes of each value."""
        return self._views["length"].astype(np.int64)

    def pack(self) -> tuple[np.ndarray, np.ndarray]:
        """All values side by side and their offsets, copied together if they do not lie so."""
        if self.packed is not None:
            return self.packed, self.offsets
        offsets = np.zeros(len(self) + 1, np.int64)
        np.cumsum(self.lengths, out=offsets[1:])
        packed = np.empty(int(offsets[-1]), np.uint8)
        for i in range(len(self)):
            packed[offsets[i] : offsets[i + 1]] = self[i]
        return packed, offsets

    def copy(self) -> Values:
        """The same in memory of its own."""
        packed, offsets = (np.array(part) for part in self.pack())
        return Values.of(packed, offsets, self.records)

    @staticmethod
    def of(packed: np.ndarray, offsets: np.ndarray, records: np.ndarray) -> Values:
        """Values that lie side by side in an array."""
        views = np.empty(len(offsets) - 1, VALUE)
        views["data"] = offsets[:-1] + packed.ctypes.data
        views["length"], views["record"] = np.diff(offsets), records
        packed.flags.writeable = offsets.flags.writeable = False
        return Values(views, packed, packed, offsets)


Data = Union[np.ndarray, Values]


class Memory:
    """What NumPy makes an array of that lies at an address and keeps `owner` alive."""

    __slots__ = ("owner", "__array_interface__")

    def __init__(self, address: int, length: int, owner, is_readonly: bool = True):
        self.owner = owner
        self.__array_interface__ = {"data": (address, is_readonly), "shape": (length,), "typestr": "|u1", "version": 3}


def array_at(address: int, length: int, owner) -> np.ndarray:
    """Memory as a read-only array that keeps `owner` alive."""
    return np.asarray(Memory(address, length, owner)) if length else np.empty(0, np.uint8)


@dataclasses.dataclass(frozen=True)
class Batch:
    """Columns of `records` records by name. Arrays may lie in the agent's memory, which is given back once nothing refers
    to them any more."""

    position: int
    records: int
    columns: dict[str, Data]
    is_padded: bool = False

    def copy(self) -> Batch:
        """The same in memory of its own."""
        return dataclasses.replace(self, columns={name: data.copy() for name, data in self.columns.items()})


class Lease:
    """Memory of a batch; arrays refer to it, and the agent gets it back when the last of them is gone."""

    def __init__(self, stream: Stream, handle: ctypes.c_void_p):
        self._stream, self.handle = stream, handle

    def __del__(self) -> None:
        handle, self.handle = self.handle, None
        if handle and LIBRARY is not None:
            LIBRARY.kaml_batch_release(handle)
            self._stream.returned()


class Source(Protocol):
    """What gives batches by position: a stream of the agent, or the files of a mount."""

    columns: tuple[Column, ...]
    records: int
    steps: int
    first_steps: int
    total_steps: int | None
    snapshot: str
    notice: str

    def take(self, position: int, timeout: float | None = None) -> Batch: ...

    def token(self, position: int) -> Token: ...

    def close(self) -> None: ...


class Stream:
    """A stream of the agent. Thread-safe.

    Attributes:
        columns: Of each batch.
        records: In an epoch.
        first_steps: Batches up to the end of the first epoch, which may have begun in the middle.
        steps: Batches of each later epoch.
        total_steps: Of all epochs, or None when it goes on for ever.
        snapshot: The dataset's version.
        notice: What the user should be told: why a faster way is not taken.
    """

    def __init__(self, options: Options, client: Client):
        self.options, self._is_lent = options, False
        self.handle, error = ctypes.c_void_p(), CError()
        c_options, _keep = options.c_options()
        check(
            LIBRARY.kaml_stream_open(client.handle, ctypes.byref(c_options), ctypes.byref(self.handle), ctypes.byref(error)),
            error,
        )
        info = CStreamInfo()
        LIBRARY.kaml_stream_describe(self.handle, ctypes.byref(info))
        self.records, self.steps, self.first_steps = info.records, info.steps, info.first_steps
        self.total_steps = None if info.total_steps == FOREVER else info.total_steps
        self.snapshot, self.window_batches = info.cursor.snapshot.decode(), info.window_batches
        self.lends_cache, self.is_inline = bool(info.lends_cache), bool(info.is_inline)
        self.notice = info.notice.decode(errors="replace")
        self.columns = tuple(self._column(index) for index in range(info.column_count))
        # Of a kind that a thread may take twice: a batch may be collected while its own thread is counting.
        self._lock, self._held = threading.RLock(), 0

    def _column(self, index: int) -> Column:
        told = CColumnInfo()
        LIBRARY.kaml_stream_column(self.handle, index, ctypes.byref(told))
        return Column(told.name.decode(), {1: "bytes", 2: "int64", 3: "uint8"}[told.kind], told.width)

    def close(self) -> None:
        """Ends it. Batches that were taken stay valid."""
        if self._is_lent:
            return
        handle, self.handle = self.handle, ctypes.c_void_p()
        LIBRARY.kaml_stream_close(handle)

    def lend(self) -> ctypes.c_void_p:
        """Gives the stream of libkaml to somebody else, who closes it; this object is good for tokens still."""
        self._is_lent = True
        return self.handle

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "handle", None) and LIBRARY is not None:
            self.close()

    def token(self, position: int) -> Token:
        """Where to go on once all batches before `position` were used."""
        cursor, error = CCursor(), CError()
        check(LIBRARY.kaml_stream_cursor(self.handle, position, ctypes.byref(cursor), ctypes.byref(error)), error)
        return Token.of(cursor)

    def counters(self) -> dict[str, int]:
        """Batches, seeks, reconnects, nanoseconds waited and bytes pinned so far."""
        counters = CCounters()
        LIBRARY.kaml_stream_count(self.handle, ctypes.byref(counters))
        return {name: getattr(counters, name) for name, _ in CCounters._fields_}

    def take(self, position: int, timeout: float | None = None) -> Batch:
        """The batch at `position`, waiting up to `timeout` seconds, or for ever.

        Arrays of it are the agent's memory, unless the caller holds all but one of the batches that may be out already:
        then they are copies, so that keeping batches never stops the stream.
        """
        deadline = None if timeout is None else time.monotonic_ns() + int(timeout * 1e9)
        handle, error = ctypes.c_void_p(), CError()
        while True:
            left = SLICE_NS if deadline is None else min(SLICE_NS, max(0, deadline - time.monotonic_ns()))
            code = LIBRARY.kaml_stream_take(self.handle, position, left, ctypes.byref(handle), ctypes.byref(error))
            if code != Code.TIMED_OUT or (deadline is not None and time.monotonic_ns() >= deadline):
                break
        check(code, error)
        with self._lock:
            self._held += 1
            must_copy = self._held >= max(1, self.window_batches - 1)
        batch = self._batch(position, Lease(self, handle))
        return batch.copy() if must_copy else batch

    def returned(self) -> None:
        with self._lock:
            self._held -= 1

    def _batch(self, position: int, lease: Lease) -> Batch:
        records = LIBRARY.kaml_batch_records(lease.handle)
        columns = {column.name: self._data(lease, index, records) for index, column in enumerate(self.columns)}
        return Batch(position, records, columns, bool(LIBRARY.kaml_batch_is_padded(lease.handle)))

    def _data(self, lease: Lease, index: int, records: int) -> Data:
        data = CColumnData()
        LIBRARY.kaml_batch_column(lease.handle, index, ctypes.byref(data))
        if data.kind == KIND_INT64:
            return array_at(data.dense, records * 8, lease).view(np.int64)
        if data.kind != KIND_BYTES:
            return array_at(data.dense, records * data.width, lease).reshape(records, data.width)
        views = array_at(data.values, records * VALUE.itemsize, lease).view(VALUE)
        packed = offsets = None
        if data.packed:
            offsets = array_at(data.offsets, (records + 1) * 8, lease).view(np.int64)
            packed = array_at(data.packed, int(offsets[-1]), lease)
        return Values(views, lease, packed, offsets)


def batches(source: Source, begin: int = 0, timeout: float | None = None) -> Iterator[Batch]:
    """All batches of a source, from `begin` on."""
    position = begin
    while source.total_steps is None or position < source.total_steps:
        yield source.take(position, timeout)
        position += 1
