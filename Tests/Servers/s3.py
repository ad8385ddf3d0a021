"""A small S3 client of the standard library alone: enough to make buckets and objects that tests and benches need."""
import collections
import contextlib
import datetime
import hashlib
import hmac
import http.client
import os
import threading
import urllib.parse
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

_SPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"


def in_parallel(function, arguments: Iterable[tuple], threads: int) -> Iterator:
    """Results in order; reads the arguments as it goes, a few ahead."""
    with ThreadPoolExecutor(threads) as pool:
        pending = collections.deque()
        for each in arguments:
            pending.append(pool.submit(function, *each))
            if len(pending) >= threads * 2:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


class S3Failure(Exception):
    def __init__(self, status: int, body: bytes, what: str):
        super().__init__(f"{what}: status {status}: {body[:300]!r}")
        self.status = status


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


class S3:
    """One bucket of a server; may be used by many threads, each with a connection of its own."""

    def __init__(self, endpoint: str, bucket: str, access_key: str, secret_key: str, region: str = "us-east-1"):
        parts = urllib.parse.urlsplit(endpoint)
        self.host, self.port = parts.hostname, parts.port
        self.bucket, self.region = bucket, region
        self.access_key, self.secret_key = access_key, secret_key
        self._local = threading.local()

    def request(self, method: str, key: bytes | str | None = None, query: dict[str, str] | None = None,
                headers: dict[str, str] | None = None, body: bytes = b"", path: str | None = None) -> Answer:
        """One signed request; `path`, already encoded, instead of a key."""
        if path is None:
            name = key.encode() if isinstance(key, str) else key
            path = f"/{self.bucket}" + ("" if name is None else "/" + urllib.parse.quote(name, safe="/-_.~"))
        text = "&".join(f"{urllib.parse.quote(name, safe='-_.~')}={urllib.parse.quote(value, safe='-_.~')}"
                        for name, value in sorted((query or {}).items()))
        signed = self.sign(method, path, text, headers or {}, body)
        target = f"{path}?{text}" if text else path
        for attempt in (1, 2):
            connection = self._connection()
            try:
                connection.request(method, target, body or None, signed)
                response = connection.getresponse()
                return Answer(response.status, response.headers, response.read())
            except (http.client.HTTPException, OSError):
                self._local.connection = None  # an idle connection that the server closed; once
                if attempt == 2:
                    raise
        raise AssertionError

    def sign(self, method: str, path: str, query: str, headers: dict[str, str], body: bytes) -> dict[str, str]:
        """The headers of a request signed with AWS Signature Version 4; the body's hash may be among them already."""
        now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
        digest = headers.get("x-amz-content-sha256") or hashlib.sha256(body).hexdigest()
        every = {name.lower(): value for name, value in headers.items()}
        every |= {"host": f"{self.host}:{self.port}", "x-amz-date": now, "x-amz-content-sha256": digest}
        names = sorted(name for name in every if name == "host" or name.startswith("x-amz-"))
        canonical = "\n".join([method, path, query, *(f"{name}:{every[name]}" for name in names), "", ";".join(names),
                               digest])
        scope = f"{now[:8]}/{self.region}/s3/aws4_request"
        to_sign = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        key = f"AWS4{self.secret_key}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.new(key, to_sign.encode(), "sha256").hexdigest()
        every["authorization"] = (f"AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}, "
                                  f"SignedHeaders={';'.join(names)}, Signature={signature}")
        return every

    def need(self, method: str, key: bytes | str | None = None, **more) -> Answer:
        answer = self.request(method, key, **more)
        if answer.status // 100 != 2:
            raise S3Failure(answer.status, answer.body, f"{method} {key!r}")
        return answer

    # What tests want

    def make_bucket(self, versioned: bool = False) -> None:
        self.need("PUT")
        if versioned:
            body = (b'<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
                    b"<Status>Enabled</Status></VersioningConfiguration>")
            self.need("PUT", query={"versioning": ""}, body=body)

    def put(self, key: bytes | str, body: bytes) -> str:
        """Stores an object; gives its ETag without quotes."""
        return (self.need("PUT", key, body=body).headers["ETag"] or "").strip('"')

    def put_all(self, objects: Iterable[tuple[bytes | str, bytes]], threads: int = 8) -> int:
        """Stores many small objects, reading the iterable as it goes; gives their number."""
        return sum(1 for _ in in_parallel(self.put, objects, threads))

    def put_large(self, key: bytes | str, pieces: Iterable[bytes]) -> None:
        """Stores an object in parts, one for each piece (of at least 5 MiB, but for the last)."""
        begun = ElementTree.fromstring(self.need("POST", key, query={"uploads": ""}).body)
        upload = begun.findtext(f"{_SPACE}UploadId") or ""

        def put_part(number: int, piece: bytes) -> str:
            answer = self.need("PUT", key, query={"partNumber": str(number), "uploadId": upload}, body=piece)
            return f"<Part><PartNumber>{number}</PartNumber><ETag>{answer.headers['ETag']}</ETag></Part>"

        parts = list(in_parallel(put_part, enumerate(pieces, 1), threads=4))
        body = f"<CompleteMultipartUpload>{''.join(parts)}</CompleteMultipartUpload>".encode()
        answer = self.need("POST", key, query={"uploadId": upload}, body=body)
        if b"<Error" in answer.body:
            raise S3Failure(answer.status, answer.body, f"completing {key!r}")

    def get(self, key: bytes | str) -> bytes:
        return self.need("GET", key).body

    def delete(self, key: bytes | str) -> None:
        self.need("DELETE", key)

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Keys and sizes, in the server's order. For keys that XML can carry."""
        token = None
        while True:
            query = {"list-type": "2", "prefix": prefix} | ({"continuation-token": token} if token else {})
            page = ElementTree.fromstring(self.need("GET", query=query).body)
            for each in page.iter(f"{_SPACE}Contents"):
                yield each.findtext(f"{_SPACE}Key") or "", int(each.findtext(f"{_SPACE}Size") or 0)
            token = page.findtext(f"{_SPACE}NextContinuationToken")
            if not token:
                return

    def _connection(self) -> http.client.HTTPConnection:
        process = getattr(self._local, "process", None)
        if process != os.getpid() or self._local.connection is None:
            self._local.process = os.getpid()
            self._local.connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        return self._local.connection

    def close(self) -> None:
        with contextlib.suppress(AttributeError):
            self._local.connection.close()
