#!/usr/bin/env python3
"""A proxy on loopback between an S3 client and a server, which does to the answers what it is told to.

  faultproxy.py --upstream http://127.0.0.1:PORT     with the server's keys in AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY

Prints one line of JSON with its endpoint. Then it takes a command a line on its standard input and answers each with a
line; it ends when that closes.

  {"rules": [{"fault": "bitflip", "match": "^GET .*/packs/", "count": 1, "skip": 0, "argument": null}]}
      The first rule that matches METHOD TARGET is used; `count` times, or always; after `skip` requests, and only with
      `probability`, where that is given.
  {"delay": 0.02}       every answer's head comes so many seconds later
  {"down": "refuse"}    or "hang": takes connections and never answers; also ends those that are there
  {"up": true}
  {"counters": true}    requests by method (LIST apart), bytes of bodies, faults made, most requests at a time
  {"reset": true}       the same, and they start again at nothing
"""
import argparse
import collections
import contextlib
import json
import os
import random
import re
import socket
import sys
import threading
import time
import urllib.parse

from faults import FAULTS, Exchange
from http1 import Closed, Head, Stream
from s3 import S3


class Rules:
    """Which request meets which fault."""

    def __init__(self):
        self._lock = threading.Lock()
        self._rules: list[dict] = []

    def set(self, rules: list[dict]) -> None:
        for rule in rules:
            re.compile(rule.get("match", ""))
            if rule["fault"] not in FAULTS:
                raise ValueError(f"no fault {rule['fault']}; there are: {', '.join(FAULTS)}")
        with self._lock:
            self._rules = [dict(rule) for rule in rules]

    def choose(self, line: str, dice: random.Random) -> dict | None:
        with self._lock:
            for rule in self._rules:
                if rule.get("count", 1) == 0 or not re.search(rule.get("match", ""), line):
                    continue
                if rule.get("skip", 0) > 0:
                    rule["skip"] -= 1
                    continue
                if dice.random() >= rule.get("probability", 1):
                    continue
                if rule.get("count") is not None:
                    rule["count"] -= 1
                return rule
        return None


class Proxy:
    def __init__(self, upstream: str, seed: int):
        parts = urllib.parse.urlsplit(upstream)
        self._upstream = (parts.hostname, parts.port)
        self._keys = S3(upstream, "", os.environ.get("AWS_ACCESS_KEY_ID", ""),
                        os.environ.get("AWS_SECRET_ACCESS_KEY", ""))
        self.rules, self._dice = Rules(), random.Random(seed)
        self._delay, self._down = 0.0, ""
        self._lock = threading.Lock()
        self._counters: collections.Counter[str] = collections.Counter()
        self._now = self._most = 0
        self._clients: set[socket.socket] = set()
        self._listener = self._listen(0)
        self.port = self._listener.getsockname()[1]
        # What a resigned request is signed for is the proxy's own address: the server believes the Host field.
        self._keys.host, self._keys.port = "127.0.0.1", self.port

    def _listen(self, port: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(512)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                with self._lock:
                    self._clients.add(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    # Commands

    def obey(self, command: dict) -> dict:
        (verb, what), = command.items()
        match verb:
            case "rules":
                self.rules.set(what)
            case "delay":
                self._delay = float(what)
            case "down":
                self._go_down(what)
            case "up":
                if self._down == "refuse":
                    self._listener = self._listen(self.port)
                elif self._down:
                    self._end_clients()
                self._down = ""
            case "counters" | "reset":
                with self._lock:
                    counted = dict(self._counters) | {"most": self._most}
                    if verb == "reset":
                        self._counters.clear()
                        self._most = self._now
                return counted
            case _:
                raise ValueError(f"no such command: {verb}")
        return {}

    def _go_down(self, how: str) -> None:
        if how not in ("refuse", "hang"):
            raise ValueError(f"down is refuse or hang, not {how}")
        self._down = how
        if how == "refuse":
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        self._end_clients()

    def _end_clients(self) -> None:
        with self._lock:
            clients = list(self._clients)
        for client in clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    # Serving

    def _serve(self, client: socket.socket) -> None:
        upstream: list[Stream] = []
        try:
            stream = Stream(client)
            while True:
                request = stream.head()
                self._one(stream, request, upstream)
        except (Closed, OSError, ValueError):
            pass
        finally:
            for each in upstream:
                each.socket.close()
            with self._lock:
                self._clients.discard(client)
            client.close()

    def _one(self, client: Stream, request: Head, upstream: list[Stream]) -> None:
        if self._down:
            self._sleep(client)(1e9)
        if (request["expect"] or "").lower() == "100-continue":
            client.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.replace("Expect", None)
        body = b"".join(bytes(piece) for piece in client.body(request))
        if request["transfer-encoding"]:
            request.replace("Transfer-Encoding", None)
            request.replace("Content-Length", str(len(body)))
        method, target = request.words[:2]
        self._count("LIST" if "list-type=2" in target or target.endswith("versions") else method)
        with self._lock:
            self._now += 1
            self._most = max(self._most, self._now)
        try:
            exchange = Exchange(request, body, client, lambda: ({}, iter(())), self._keys, None, self._dice,
                                self._sleep(client))
            exchange.forward = lambda: self._forward(exchange, upstream)
            rule = self.rules.choose(f"{method} {target}", self._dice)
            if self._delay:
                time.sleep(self._delay)
            if rule:
                self._count(f"fault {rule['fault']}")
                exchange.argument = rule.get("argument")
                FAULTS[rule["fault"]](exchange)
                return
            head, pieces = exchange.forward()
            client.send(head.encode())
            sent = 0
            for piece in pieces:
                client.send(piece)
                sent += len(piece)
            self._count("bytes", sent)
        finally:
            with self._lock:
                self._now -= 1

    def _forward(self, exchange: Exchange, upstream: list[Stream]):
        """Over the client connection's own connection to the server, which a server may have closed meanwhile."""
        for attempt in (1, 2):
            if not upstream:
                upstream.append(Stream(socket.create_connection(self._upstream, 10)))
                upstream[0].socket.settimeout(None)
            try:
                upstream[0].send(exchange.request.encode() + exchange.body)
                head = upstream[0].head()
                while head.words[1] == "100":
                    head = upstream[0].head()
                break
            except (Closed, OSError):
                upstream.pop().socket.close()
                if attempt == 2:
                    raise Closed from None
        has_body = exchange.method != "HEAD" and head.words[1] not in ("204", "304")
        if (head["transfer-encoding"] or "").lower() == "chunked":
            whole = b"".join(bytes(piece) for piece in upstream[0].body(head, has_body))
            head.replace("Transfer-Encoding", None)
            head.replace("Content-Length", str(len(whole)))
            pieces = iter([whole])
        else:
            pieces = upstream[0].body(head, has_body)
        if (head["connection"] or "").lower() == "close":
            # The next request takes a new one.
            return head, _then(pieces, lambda: upstream.pop().socket.close())
        return head, pieces

    def _sleep(self, client: Stream):
        def sleep(seconds: float) -> None:
            """Ends early, with the exchange, when the client goes away."""
            client.socket.settimeout(seconds if seconds < 1e6 else None)
            try:
                if not client.socket.recv(1, socket.MSG_PEEK):
                    raise Closed
                time.sleep(min(seconds, 3600))
            except TimeoutError:
                pass
            finally:
                client.socket.settimeout(None)

        return sleep

    def _count(self, what: str, amount: int = 1) -> None:
        with self._lock:
            self._counters[what] += amount


def _then(pieces, action):
    yield from pieces
    action()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--upstream", required=True, help="http://127.0.0.1:PORT")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    proxy = Proxy(options.upstream, options.seed)
    print(json.dumps({"endpoint": f"http://127.0.0.1:{proxy.port}", "pid": os.getpid()}), flush=True)
    for line in sys.stdin:
        try:
            answer = proxy.obey(json.loads(line))
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # connections in the middle of something are not waited for
