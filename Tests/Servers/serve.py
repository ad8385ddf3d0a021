#!/usr/bin/env python3
"""Starts one S3 server on loopback for a test or a bench: serve.py rgw|swift|moto.

Prints one line of JSON when it is ready: endpoint, bucket, versionedBucket, accessKey, secretKey, region, pids and what
the kind adds. Runs until its standard input closes or it gets SIGTERM, and then leaves neither process nor file.
Meanwhile it takes a command a line on its standard input, and answers each with a line:

  {"put": {"key": "a/b", "text": "..."}}             also "keyHex", "size" and "seed", "bucket"; answers the etag
  {"delete": {"key": "a/b"}}                         also "keyHex", "bucket"
  {"signal": {"process": "osd", "name": "STOP"}}     a server that hangs, and CONT
"""
import argparse
import json
import random
import secrets
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from moto_server import Moto
from processes import Failure
from rgw import RGW, RGWOptions
from s3 import S3
from swift import Swift

BUCKET, VERSIONED = "kaml-test", "kaml-versions"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=("rgw", "swift", "moto"))
    parser.add_argument("--directory", type=Path, help="keeps its files below this directory instead of TMPDIR")
    parser.add_argument("--keep", choices=("memory", "disk"), default="memory", help="where RGW's OSD keeps objects")
    parser.add_argument("--capacity-gb", type=int, default=2, help="the most that RGW's OSD may hold")
    parser.add_argument("--threads", type=int, default=32, help="requests that RGW works on at a time")
    parser.add_argument("--chunk-mb", type=int, default=4, help="pieces in which RGW stores; 1 takes less memory")
    parser.add_argument("--secret", help="file with the secret key to use, instead of a random one")
    options = parser.parse_args()

    # Before anything is started: from here on SIGTERM is an orderly end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    directory = Path(tempfile.mkdtemp(prefix=f"kaml-{options.kind}-", dir=options.directory))
    secret = Path(options.secret).read_text().strip() if options.secret else secrets.token_hex(20)
    server = None
    try:
        if options.kind == "rgw":
            server = RGW(directory, secret, RGWOptions(options.keep, options.capacity_gb << 30, options.threads,
                                                      options.chunk_mb << 20))
        else:
            server = (Swift if options.kind == "swift" else Moto)(directory, secret)
        server.start()
        for bucket, versioned in ((BUCKET, False), (VERSIONED, True)):
            _client(server, bucket).make_bucket(versioned)
        if sys.stdin.isatty():
            explain(server)
        say({
            "endpoint": server.endpoint, "bucket": BUCKET, "versionedBucket": VERSIONED, "region": server.region,
            "accessKey": server.access_key, "secretKey": server.secret_key, "directory": str(directory),
            "pids": {name: process.pid for name, process in server.processes.running.items()},
        } | server.details())
        for line in sys.stdin:
            try:
                say(obey(server, json.loads(line)))
            except Exception as error:  # whatever a command did wrong, the server serves on
                say({"error": f"{type(error).__name__}: {error}"})
        return 0
    except Failure as failure:
        print(f"{options.kind}: {failure}", file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if server:
            server.stop()
        shutil.rmtree(directory, ignore_errors=True)


def explain(server) -> None:
    """For a person who tries something by hand."""
    print(f"""\
export KAML_S3_ENDPOINT={server.endpoint} AWS_REGION={server.region}
export AWS_ACCESS_KEY_ID={server.access_key} AWS_SECRET_ACCESS_KEY={server.secret_key}
export KAML_STORE=s3://{BUCKET}/store        # then: kaml store init, or: make run STORE=s3://{BUCKET}/store
# Control-D ends the server.""", file=sys.stderr)


def obey(server, command: dict) -> dict:
    (verb, what), = command.items()
    match verb:
        case "put":
            body = what["text"].encode() if "text" in what else random.Random(what["seed"]).randbytes(what["size"])
            return {"etag": _client(server, what.get("bucket", BUCKET)).put(_key(what), body)}
        case "delete":
            _client(server, what.get("bucket", BUCKET)).delete(_key(what))
            return {}
        case "signal":
            server.processes.running[what["process"]].send_signal(signal.Signals[f"SIG{what['name']}"])
            return {}
    raise ValueError(f"no such command: {verb}")


def say(message: dict) -> None:
    print(json.dumps(message), flush=True)


def _key(what: dict) -> bytes:
    return bytes.fromhex(what["keyHex"]) if "keyHex" in what else what["key"].encode()


def _client(server, bucket: str) -> S3:
    return S3(server.endpoint, bucket, server.access_key, server.secret_key, server.region)


if __name__ == "__main__":
    sys.exit(main())
