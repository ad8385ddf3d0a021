"""What a bad server, network or man in the middle may answer: each fault changes one exchange, or takes its place."""
import datetime
import email.utils
import itertools
import random
import re
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from http1 import Closed, Head, Stream
from s3 import S3

_XML = b'<?xml version="1.0" encoding="UTF-8"?>'
_LIST = b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'


@dataclass
class Exchange:
    """One request on its way, as a fault sees it."""

    request: Head
    body: bytes
    client: Stream
    # Sends the request as it now stands to the real server; gives the head and the body in pieces.
    forward: Callable[[], tuple[Head, Iterator]]
    upstream: S3
    argument: object
    random: random.Random
    # Sleeps; raises when the proxy stops.
    sleep: Callable[[float], None]

    @property
    def method(self) -> str:
        return self.request.words[0]

    @property
    def target(self) -> str:
        return self.request.words[1]

    def answer(self, status: int, body: bytes = b"", *fields: tuple[str, str]) -> None:
        head = Head(f"HTTP/1.1 {status} Fault", [("Content-Length", str(len(body))), *fields])
        self.client.send(head.encode() + (b"" if self.method == "HEAD" else body))

    def error(self, status: int, code: str, *fields: tuple[str, str]) -> None:
        body = _XML + f"<Error><Code>{code}</Code><Message>made by the fault proxy</Message></Error>".encode()
        self.answer(status, body, ("Content-Type", "application/xml"), *fields)

    def received(self) -> tuple[Head, bytes]:
        head, pieces = self.forward()
        return head, b"".join(bytes(piece) for piece in pieces)

    def resign(self, path: str | None = None, drop: tuple[str, ...] = ()) -> None:
        """Gives the request a signature of the proxy's own, for another path or without some fields."""
        old_path, _, query = self.target.partition("?")
        dropped = {"authorization", "x-amz-date", "x-amz-security-token", "host", *drop}
        kept = {name.lower(): value for name, value in self.request.fields if name.lower() not in dropped}
        signed = self.upstream.sign(self.method, path or old_path, query, kept, self.body)
        target = path or self.target
        self.request = Head(f"{self.method} {target} HTTP/1.1", list(signed.items()))


FAULTS: dict[str, Callable[[Exchange], None]] = {}


def fault(function):
    FAULTS[function.__name__] = function
    return function


# Answers that say no


@fault
def status(exchange: Exchange) -> None:
    exchange.error(int(exchange.argument or 500), "InternalError")


@fault
def slowdown(exchange: Exchange) -> None:
    exchange.error(503, "SlowDown")


@fault
def throttled(exchange: Exchange) -> None:
    exchange.error(429, "TooManyRequests", ("Retry-After", str(exchange.argument or 1)))


@fault
def expired(exchange: Exchange) -> None:
    exchange.error(403, "ExpiredToken")


@fault
def clock(exchange: Exchange) -> None:
    """A server whose clock is `argument` seconds ahead, and refuses what was signed 15 minutes away from it."""
    now = time.time() + float(exchange.argument or 0)
    stamp = exchange.request["x-amz-date"] or "19700101T000000Z"
    signed = datetime.datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC).timestamp()
    if abs(signed - now) > 900:
        exchange.error(403, "RequestTimeTooSkewed", ("Date", email.utils.formatdate(now, usegmt=True)))
        return
    exchange.resign()
    _relay(exchange, *exchange.forward())


@fault
def redirect(exchange: Exchange) -> None:
    target = str(exchange.argument or "http://169.254.169.254/latest/meta-data/iam/security-credentials/")
    exchange.answer(307, b"", ("Location", target))


# Answers that are something else


@fault
def html200(exchange: Exchange) -> None:
    exchange.answer(200, b"<html><body>Please log in to the wireless network</body></html>",
                    ("Content-Type", "text/html"))


@fault
def empty200(exchange: Exchange) -> None:
    exchange.answer(200)


@fault
def not_modified(exchange: Exchange) -> None:
    exchange.answer(304)


@fault
def broken_xml(exchange: Exchange) -> None:
    exchange.answer(200, _XML + _LIST + b"<Contents><Key>a</Key><Size>99999999999999999999</Size>\xff\xfe")


@fault
def xml_bomb(exchange: Exchange) -> None:
    entities = b"".join(b"<!ENTITY %c '%s'>" % (98 + level, b"&%c;" % (97 + level) * 10) for level in range(9))
    exchange.answer(200, _XML + b"<!DOCTYPE l [<!ENTITY a 'aaaaaaaaaa'>" + entities + b"]>" + _LIST
                    + b"<Contents><Key>&j;</Key></Contents></ListBucketResult>")


@fault
def huge_xml(exchange: Exchange) -> None:
    """A listing of `argument` bytes that never closes a tag."""
    left = int(exchange.argument or 1 << 30)
    exchange.client.send(Head("HTTP/1.1 200 OK", [("Content-Length", str(left))]).encode())
    piece = b"<Contents><Key>" + b"k" * 65521
    while left > 0:
        exchange.client.send(piece[:left])
        left -= len(piece)


@fault
def list_repeat(exchange: Exchange) -> None:
    """The same page again and again, which says that there are more."""
    _send_page(exchange, ["log/00000000000000000001"], "again")


@fault
def list_endless(exchange: Exchange) -> None:
    """Pages of new keys with no end."""
    number = next(_pages) * 1000
    prefix = re.search(r"prefix=([^&]*)", exchange.target)
    start = prefix[1].replace("%2F", "/") if prefix else ""
    _send_page(exchange, [f"{start}{each:020}" for each in range(number, number + 1000)], f"token-{number}")


_pages = itertools.count()


def _send_page(exchange: Exchange, keys: list[str], token: str) -> None:
    contents = "".join(f"<Contents><Key>{key}</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified>"
                       f"<ETag>&quot;d41d8cd98f00b204e9800998ecf8427e&quot;</ETag><Size>1</Size></Contents>"
                       for key in keys)
    exchange.answer(200, _XML + _LIST + f"<KeyCount>{len(keys)}</KeyCount><IsTruncated>true</IsTruncated>"
                    f"<NextContinuationToken>{token}</NextContinuationToken>{contents}</ListBucketResult>".encode())


# HTTP that breaks its own rules


@fault
def header_flood(exchange: Exchange) -> None:
    count = int(exchange.argument or 100_000)
    exchange.client.send(b"HTTP/1.1 200 OK\r\n" + b"X-Flood: 0123456789\r\n" * count + b"Content-Length: 0\r\n\r\n")


@fault
def header_large(exchange: Exchange) -> None:
    exchange.client.send(b"HTTP/1.1 200 OK\r\nX-Large: " + b"x" * (1 << 20) + b"\r\nContent-Length: 0\r\n\r\n")


@fault
def bad_length(exchange: Exchange) -> None:
    exchange.client.send(b"HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\nabc"
                         % str(exchange.argument or "18446744073709551617").encode())
    raise Closed


@fault
def two_lengths(exchange: Exchange) -> None:
    exchange.client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
                         b"1\r\na\r\n0\r\n\r\n")
    raise Closed


@fault
def chunked_junk(exchange: Exchange) -> None:
    exchange.client.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\nabc")
    raise Closed


# No answer, or a slow one


@fault
def reset(exchange: Exchange) -> None:
    _reset(exchange)


@fault
def hang(exchange: Exchange) -> None:
    exchange.sleep(1e9)


@fault
def delay(exchange: Exchange) -> None:
    exchange.sleep(float(exchange.argument or 1))
    _relay(exchange, *exchange.forward())


@fault
def stall(exchange: Exchange) -> None:
    """Half of the body, and then nothing for ever."""
    head, body = exchange.received()
    exchange.client.send(head.encode() + body[:len(body) // 2])
    exchange.sleep(1e9)


@fault
def trickle(exchange: Exchange) -> None:
    """`argument` bytes a second."""
    head, body = exchange.received()
    exchange.client.send(head.encode())
    step = max(1, int(exchange.argument or 1000) // 10)
    for start in range(0, len(body), step):
        exchange.client.send(body[start:start + step])
        exchange.sleep(0.1)


# Bodies that are not what they should be


@fault
def reset_in_body(exchange: Exchange) -> None:
    head, body = exchange.received()
    exchange.client.send(head.encode() + body[:len(body) // 2])
    exchange.sleep(0.05)  # a reset overtakes what is still on its way
    _reset(exchange)


@fault
def truncated(exchange: Exchange) -> None:
    head, body = exchange.received()
    exchange.client.send(head.encode() + body[:len(body) // 2])
    raise Closed


@fault
def short_clean(exchange: Exchange) -> None:
    """Half of the body under a length that says so: nothing that HTTP could notice."""
    head, body = exchange.received()
    _send(exchange, head, body[:len(body) // 2])


@fault
def extra_body(exchange: Exchange) -> None:
    head, body = exchange.received()
    _send(exchange, head, body + body[:1000])


@fault
def bitflip(exchange: Exchange) -> None:
    head, body = exchange.received()
    changed = bytearray(body)
    if changed:
        # Where a reader of the object's second quarter meets it, whether it asked for that or for all.
        place = exchange.random.randrange(len(changed) * 26 // 100, len(changed) * 33 // 100 + 1) % len(changed)
        changed[place] ^= 1 << exchange.random.randrange(8)
    _send(exchange, head, bytes(changed))


@fault
def zeros(exchange: Exchange) -> None:
    head, body = exchange.received()
    _send(exchange, head, bytes(len(body)))


@fault
def rotated(exchange: Exchange) -> None:
    """The right number of bytes, in the wrong places."""
    head, body = exchange.received()
    _send(exchange, head, body[len(body) // 2:] + body[:len(body) // 2])


@fault
def wrong_etag(exchange: Exchange) -> None:
    head, body = exchange.received()
    head.replace("ETag", '"deadbeefdeadbeefdeadbeefdeadbeef"')
    _send(exchange, head, body)


@fault
def other_object(exchange: Exchange) -> None:
    """The same range of the object at the path `argument`."""
    exchange.resign(path=str(exchange.argument), drop=("if-match",))
    _relay(exchange, *exchange.forward())


@fault
def ignore_range(exchange: Exchange) -> None:
    exchange.resign(drop=("range",))
    _relay(exchange, *exchange.forward())


@fault
def other_range(exchange: Exchange) -> None:
    """As many bytes from another place, and the head says so."""
    asked = re.fullmatch(r"bytes=(\d+)-(\d+)", exchange.request["range"] or "")
    exchange.resign(drop=("range",))
    if asked:
        first, last = int(asked[1]), int(asked[2])
        length = last - first + 1
        start = first - length if first >= length else last + 1
        exchange.request.replace("range", f"bytes={start}-{start + length - 1}")
    _relay(exchange, *exchange.forward())


def _send(exchange: Exchange, head: Head, body: bytes) -> None:
    head.replace("Transfer-Encoding", None)
    head.replace("Content-Length", str(len(body)))
    exchange.client.send(head.encode() + (b"" if exchange.method == "HEAD" else body))


def _relay(exchange: Exchange, head: Head, pieces: Iterator) -> None:
    exchange.client.send(head.encode())
    for piece in pieces:
        exchange.client.send(piece)


def _reset(exchange: Exchange) -> None:
    exchange.client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raise Closed
