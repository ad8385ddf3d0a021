"""The node's agent: files of datasets, and streams."""

from __future__ import annotations

import ctypes
import dataclasses
import sys

from ._library import CAttributes, CError, COptions, LIBRARY, LISTER, check

KINDS = {1: "file", 2: "directory", 3: "link", 4: "other"}


@dataclasses.dataclass(frozen=True)
class Attributes:
    """Of a file: what it is ("file", "directory", "link", "other"), its bytes, when it was changed (nanoseconds since
    1970), and the snapshot that the dataset's name stood for."""

    kind: str
    bytes: int
    modified_ns: int
    snapshot: str


class Client:
    """A connection to the node's agent. Thread-safe, but not to be used after fork.

    Args:
        socket: The agent's socket; by default the environment's KAML_FEED_SOCKET, else /run/kaml/feed/feed.sock.
        answer_timeout: Seconds that the agent may take for an answer.
        reconnect_timeout: Seconds that a stream looks for an agent that went away.

    Raises:
        Error: UNAVAILABLE where there is no agent.
    """

    def __init__(self, socket: str | None = None, answer_timeout: float = 60, reconnect_timeout: float = 120):
        self.handle = ctypes.c_void_p()
        error = CError()
        options = COptions(
            size=ctypes.sizeof(COptions),
            socket=socket.encode() if socket else None,
            program=f"kaml-python/{LIBRARY.kaml_version().decode()} {sys.argv[0] if sys.argv else ''}".encode()[:128],
            answer_timeout_ns=int(answer_timeout * 1e9),
            reconnect_timeout_ns=int(reconnect_timeout * 1e9),
        )
        check(LIBRARY.kaml_connect(ctypes.byref(options), ctypes.byref(self.handle), ctypes.byref(error)), error)

    def close(self) -> None:
        """Closes it. Streams that it opened go on."""
        handle, self.handle = self.handle, ctypes.c_void_p()
        LIBRARY.kaml_close(handle)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "handle", None) and LIBRARY is not None:
            self.close()

    def stat(self, dataset: str, path: str = "", store: str | None = None) -> Attributes:
        """Attributes of a path of a dataset."""
        told, error = CAttributes(), CError()
        code = LIBRARY.kaml_stat(
            self.handle, dataset.encode(), (store or "").encode(), path.encode(), ctypes.byref(told), ctypes.byref(error)
        )
        check(code, error)
        return Attributes(KINDS[told.kind], told.bytes, told.modified_ns, told.snapshot.decode())

    def list(self, dataset: str, path: str = "", store: str | None = None) -> list[tuple[str, str]]:
        """Names in a directory and what they are, sorted."""
        found: list[tuple[str, str]] = []

        def each(_, name, length, kind):
            found.append((name[:length].decode(errors="surrogateescape"), KINDS[kind]))
            return True

        error = CError()
        code = LIBRARY.kaml_list(
            self.handle, dataset.encode(), (store or "").encode(), path.encode(), LISTER(each), None, ctypes.byref(error)
        )
        check(code, error)
        return found

    def read(self, dataset: str, path: str, offset: int = 0, length: int | None = None, store: str | None = None) -> bytes:
        """Bytes of a file: `length` of them from `offset` on, or all up to its end."""
        if length is None:
            length = max(0, self.stat(dataset, path, store).bytes - offset)
        buffer, count, error = ctypes.create_string_buffer(max(1, length)), ctypes.c_size_t(), CError()
        code = LIBRARY.kaml_read(
            self.handle,
            dataset.encode(),
            (store or "").encode(),
            path.encode(),
            offset,
            buffer,
            length,
            ctypes.byref(count),
            ctypes.byref(error),
        )
        check(code, error)
        return buffer.raw[: count.value]
