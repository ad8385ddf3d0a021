"""HTTP/1.1 on a socket, as a proxy needs it: heads parsed, bodies moved in large pieces."""
import socket
from collections.abc import Iterator
from dataclasses import dataclass

PIECE = 512 << 10


class Closed(Exception):
    """The other side closed the connection, or broke the rules of HTTP."""


@dataclass
class Head:
    first: str
    fields: list[tuple[str, str]]

    def __getitem__(self, name: str) -> str | None:
        return next((value for field, value in self.fields if field.lower() == name), None)

    def replace(self, name: str, value: str | None) -> None:
        """Sets a field, or removes it."""
        self.fields = [each for each in self.fields if each[0].lower() != name.lower()]
        if value is not None:
            self.fields.append((name, value))

    def encode(self) -> bytes:
        lines = [self.first, *(f"{name}: {value}" for name, value in self.fields), "", ""]
        return "\r\n".join(lines).encode("latin-1")

    @property
    def words(self) -> list[str]:
        return self.first.split(" ", 2)


class Stream:
    """A connection with what was read too much of it."""

    def __init__(self, connection: socket.socket):
        self.socket = connection
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""
        self._buffer = bytearray(PIECE)

    def head(self) -> Head:
        while b"\r\n\r\n" not in self._rest:
            piece = self.socket.recv(65536)
            if not piece or len(self._rest) > 1 << 20:
                raise Closed
            self._rest += piece
        text, self._rest = self._rest.split(b"\r\n\r\n", 1)
        first, *lines = text.decode("latin-1").split("\r\n")
        fields = [line.split(":", 1) for line in lines if ":" in line]
        return Head(first, [(name.strip(), value.strip()) for name, value in fields])

    def body(self, head: Head, has_body: bool = True) -> Iterator[bytes | memoryview]:
        """The body in pieces, each valid until the next is asked for; chunks come without their framing."""
        if not has_body:
            return
        if (head["transfer-encoding"] or "").lower() == "chunked":
            while size := int(self._line().split(b";")[0], 16):
                yield from self._exactly(size)
                self._line()
            while self._line():
                pass
        else:
            yield from self._exactly(int(head["content-length"] or 0))

    def send(self, data: bytes | memoryview) -> None:
        self.socket.sendall(data)

    def _line(self) -> bytes:
        while b"\r\n" not in self._rest:
            piece = self.socket.recv(65536)
            if not piece:
                raise Closed
            self._rest += piece
        line, self._rest = self._rest.split(b"\r\n", 1)
        return line

    def _exactly(self, count: int) -> Iterator[bytes | memoryview]:
        first, self._rest = self._rest[:count], self._rest[count:]
        if first:
            yield first
        count -= len(first)
        while count:
            got = self.socket.recv_into(self._buffer, min(count, PIECE))
            if not got:
                raise Closed
            count -= got
            yield memoryview(self._buffer)[:got]
