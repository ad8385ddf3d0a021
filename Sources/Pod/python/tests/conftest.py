"""Fixtures: datasets in a directory, and an agent that serves them.

The agent is a stand-in (agent_stub.py), or with KAMLD and KAML (paths of the programs) in the environment a real one; tests
that need an agent that misbehaves are left out then.
"""

import contextlib
import hashlib
import os
import socket as socketlib
import struct
import subprocess
import sys
import time

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
# Another build of the package, say one with sanitizers.
PACKAGE = os.environ.get("KAML_PACKAGE", os.path.join(os.path.dirname(HERE), "kaml"))
sys.path.insert(0, os.path.dirname(PACKAGE))
LIBRARY = os.path.join(PACKAGE, "libkaml.so.1")


def blob(seed, length):
    """Bytes that are a pure function of the arguments."""
    return hashlib.shake_128(str(seed).encode()).digest(length)


def write_tfrecord(path, records):
    """Without checksums, which nothing here looks at but TensorFlow: it gets them from `masked_crc`."""
    with open(path, "wb") as file:
        for record in records:
            head = struct.pack("<Q", len(record))
            file.write(head + struct.pack("<I", masked_crc(head)) + record + struct.pack("<I", masked_crc(record)))


_TABLE = []
for _value in range(256):
    for _ in range(8):
        _value = _value >> 1 ^ (0x82F63B78 if _value & 1 else 0)
    _TABLE.append(_value)


def masked_crc(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 255] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@pytest.fixture(scope="session")
def datasets(tmp_path_factory):
    """`pets`: 43 files in two directories. `text`: 100 TFRecords in three files. `empty`: no files."""
    root = tmp_path_factory.mktemp("datasets")
    for kind, count in (("cat", 20), ("dog", 23)):
        os.makedirs(root / "pets" / kind)
        for i in range(count):
            (root / "pets" / kind / f"{i:03}.bin").write_bytes(blob((kind, i), 100 + 997 * i))
    os.makedirs(root / "text")
    for part in range(3):
        numbers = range(part * 40, min(100, part * 40 + 40))
        write_tfrecord(root / "text" / f"part-{part}.tfrecord", [blob(i, i * 13 % 300) for i in numbers])
    os.makedirs(root / "empty")
    write_digits(root / "digits")
    return root


def write_digits(directory):
    """2,000 tf.train.Examples, written by hand: TensorFlow need not be here. An image of a digit is that digit's own pattern,
    with some noise."""
    os.makedirs(directory)
    patterns = [blob(("digit", label), 64) for label in range(10)]

    def field(number, payload):
        return bytes([number << 3 | 2]) + varint(len(payload)) + payload

    def varint(value):
        return bytes([value]) if value < 128 else bytes([value & 127 | 128, value >> 7])

    def example(number):
        label, noise = number % 10, blob(("noise", number), 64)
        image = bytes(other if chance < 20 else pixel for pixel, chance, other in zip(patterns[label], noise, noise[::-1]))
        features = {b"image": field(1, field(1, image)), b"label": field(3, field(1, varint(label)))}
        return field(1, b"".join(field(1, field(1, name) + field(2, value)) for name, value in features.items()))

    for part in range(4):
        write_tfrecord(directory / f"digits-{part}.tfrecord", [example(part * 500 + i) for i in range(500)])


class Stub:
    def __init__(self, socket, root):
        self.socket, self.root, self.process = socket, root, None

    def start(self, *arguments):
        command = [sys.executable, os.path.join(HERE, "agent_stub.py"), self.socket, str(self.root), *arguments]
        environment = dict(os.environ, KAML_LIBRARY=LIBRARY)
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
        assert self.process.stdout.readline() == b"ready\n"
        return self

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            os.unlink(self.socket)
            self.process = None


class Agent:
    """kamld, with a store of its own."""

    def __init__(self, directory, socket, root):
        self.directory, self.socket, self.root, self.process = directory, socket, root, None
        self.store = f"file://{directory}/store"
        self.log = open(directory / "agent.log", "ab")
        for arguments in (["store", "init"], *(["commit", name, root / name] for name in sorted(os.listdir(root)))):
            environment = dict(os.environ, KAML_STORE=self.store)
            subprocess.run([os.environ["KAML"], *arguments], env=environment, check=True, stdout=self.log, stderr=self.log)
        os.makedirs(directory / "run")

    def start(self, *arguments):
        if "--misbehave" in arguments:
            pytest.skip("needs an agent that misbehaves")
        self.process = subprocess.Popen(
            [os.environ["KAMLD"], "agent", "--admin-socket", self.directory / "run" / "agent.sock"]
            + ["--cache-directory", self.directory / "cache", "--http-listen", "off", "--stores-default", "lab"]
            + ["--stores-lab-url", self.store, "--log-format", "text", "--feed-socket", self.socket],
            stdout=self.log,
            stderr=self.log,
        )
        deadline = time.monotonic() + 30
        while not self.answers():
            assert self.process.poll() is None and time.monotonic() < deadline, f"no agent: see {self.log.name}"
            time.sleep(0.02)
        return self

    def answers(self):
        with contextlib.closing(socketlib.socket(socketlib.AF_UNIX, socketlib.SOCK_SEQPACKET)) as probe:
            return probe.connect_ex(self.socket) == 0

    def stop(self):
        """As a crash does."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


IS_REAL = "KAMLD" in os.environ


@pytest.fixture(scope="session")
def agent_program(tmp_path_factory, socket, datasets):
    program = Agent(tmp_path_factory.mktemp("node"), socket, datasets) if IS_REAL else Stub(socket, datasets)
    yield program
    program.stop()


@pytest.fixture(scope="session")
def socket(tmp_path_factory):
    """One for all tests, since TensorFlow keeps a file system for the life of the process."""
    return str(tmp_path_factory.mktemp("agent") / "feed.sock")


@pytest.fixture
def stub(agent_program, monkeypatch):
    """An agent that is not running yet: `stub.start("--lend", "--misbehave", "skip")`."""
    monkeypatch.setenv("KAML_FEED_SOCKET", agent_program.socket)
    yield agent_program
    agent_program.stop()


@pytest.fixture
def agent(stub):
    """An agent that copies batches into slots."""
    return stub.start()


@pytest.fixture
def lender(stub):
    """An agent that lends its cache."""
    return stub.start("--lend")
