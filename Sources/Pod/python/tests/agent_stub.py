"""A stand-in for the node's agent, for tests of libkaml: it speaks the feed's protocol from a plain directory and can be
told to misbehave. Not the agent: no index, no cache, no quotas, and everything is read whole.

    agent_stub.py SOCKET ROOT [--lend] [--misbehave NAME[=NUMBER]]...

A dataset is a directory below ROOT, its snapshot the hash of its file names and sizes.
"""

import argparse
import ctypes
import fcntl
import hashlib
import mmap
import os
import random
import select
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

HERE = os.path.dirname(os.path.abspath(__file__))
PROTO = os.path.join(HERE, "../../../../proto/kaml/feed/v1")

HEADER, DESCRIPTOR, ENTRY, SLOTS = 4096, 64, 32, 64
TAIL, WAKE, TAKEN, AGENT_SLEEPS = 64, 72, 128, 136
F_ADD_SEALS, SEAL_SEAL, SEAL_SHRINK, SEAL_GROW, SEAL_FUTURE_WRITE = 1033, 1, 2, 4, 16
BYTES, INT64 = 1, 2
LIBC = ctypes.CDLL(None, use_errno=True)


def messages():
    with tempfile.TemporaryDirectory() as directory:
        out = os.path.join(directory, "feed.bin")
        subprocess.run(["protoc", f"--proto_path={PROTO}", f"--descriptor_set_out={out}", "feed.proto"], check=True)
        files = descriptor_pb2.FileDescriptorSet.FromString(open(out, "rb").read())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    get = getattr(message_factory, "GetMessageClass", None)
    found = {name: pool.FindMessageTypeByName(f"kaml.feed.v1.{name}") for name in ("Request", "Reply")}
    if get is None:
        factory = message_factory.MessageFactory(pool)
        get = factory.GetPrototype
    return get(found["Request"]), get(found["Reply"])


Request, Reply = messages()


class KamlOrder(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("records", "seed", "epoch", "block", "window")]
    _fields_ += [("kind", ctypes.c_uint32), ("version", ctypes.c_uint32), ("keys", ctypes.c_uint64 * 8)]


def order_library():
    path = os.environ["KAML_LIBRARY"]
    library = ctypes.CDLL(path)
    library.kaml_order_init.argtypes = [ctypes.POINTER(KamlOrder), ctypes.c_uint32, ctypes.c_uint32] + [ctypes.c_uint64] * 5
    library.kaml_order_record.argtypes = [ctypes.POINTER(KamlOrder), ctypes.c_uint64]
    library.kaml_order_record.restype = ctypes.c_uint64
    library.kaml_order_steps.argtypes = [ctypes.c_uint64] * 3 + [ctypes.c_uint32, ctypes.c_int]
    library.kaml_order_steps.restype = ctypes.c_uint64
    return library


ORDERS = order_library()


class Failed(Exception):
    def __init__(self, code, message, is_retryable=False):
        super().__init__(message)
        self.code, self.is_retryable = code, is_retryable


INVALID, NOT_FOUND, EXHAUSTED, CORRUPT, UNAVAILABLE, UNSUPPORTED = 1, 2, 4, 5, 6, 7


class Dataset:
    """Files of a directory, and its records: (file, offset, length), label, path."""

    def __init__(self, root, name):
        self.root = os.path.join(root, name.split("@")[0])
        if not os.path.isdir(self.root):
            raise Failed(NOT_FOUND, f"no dataset {name}")
        self.files = sorted(
            os.path.relpath(os.path.join(directory, file), self.root)
            for directory, _, names in os.walk(self.root)
            for file in names
        )
        text = "\n".join(f"{file} {os.path.getsize(os.path.join(self.root, file))}" for file in self.files)
        self.snapshot = hashlib.sha256(text.encode()).hexdigest()

    def records(self, form):
        labels = sorted({file.split("/")[0] for file in self.files})
        found = []
        for file in self.files:
            path = os.path.join(self.root, file)
            if form == 1 or (form == 0 and file.endswith(".tfrecord")):
                data, at = open(path, "rb").read(), 0
                while at < len(data):
                    (length,) = struct.unpack_from("<Q", data, at)
                    found.append((file, at + 12, length, 0))
                    at += length + 16
            else:
                found.append((file, 0, os.path.getsize(path), labels.index(file.split("/")[0])))
        return found


def align(offset):
    return (offset + 63) // 64 * 64


def memory(name, size, seals):
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    view = mmap.mmap(fd, size)
    if seals:
        fcntl.fcntl(fd, F_ADD_SEALS, seals)
    return fd, view


class Ring:
    def __init__(self, name, magic, seals, slot):
        self.fd, self.memory = memory(name, HEADER + SLOTS * slot, seals)
        struct.pack_into("III", self.memory, 0, magic, 1, SLOTS)
        self.words = memoryview(self.memory).cast("Q")
        self.halves = memoryview(self.memory).cast("I")
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))


class Stream:
    """One stream of a session: publishes batches while it has credits."""

    def __init__(self, session, request):
        self.session, self.request, options = session, request, session.options
        self.data = Dataset(options.root, request.dataset)
        self.list = self.data.records(request.format)
        cursor = request.cursor
        if cursor.snapshot and cursor.snapshot != self.data.snapshot:
            raise Failed(NOT_FOUND, f"no snapshot {cursor.snapshot}")
        self.is_tfrecord = request.format == 1 or (request.format == 0 and self.data.files[:1] and self.data.files[0].endswith(".tfrecord"))
        self.columns = [("record", BYTES)] if self.is_tfrecord else [("record", BYTES), ("label", INT64), ("path", BYTES)]
        if request.columns:
            names = [name for name, _ in self.columns]
            for name in request.columns:
                if name not in names:
                    raise Failed(NOT_FOUND, f"no column {name} in {request.dataset}")
            self.columns = [(name, dict(self.columns)[name]) for name in request.columns]
        self.world, self.batch = max(1, request.world_size), request.batch_size
        steps = lambda ordinal: ORDERS.kaml_order_steps(
            len(self.list), ordinal, self.batch, self.world, int(request.drop_remainder)
        )
        self.first_steps, self.steps = steps(cursor.ordinal), steps(0)
        self.total = None if request.epochs == 0 else self.first_steps + (request.epochs - 1) * self.steps
        if not self.list:
            self.total = 0
        self.window = request.window_batches or 4
        self.lends = options.lend and request.plane != 1
        if request.plane == 2 and not self.lends:
            raise Failed(UNSUPPORTED, "the cache is not lent here")
        self.next, self.generation, self.sequence, self.out, self.published = 0, 0, 0, {}, 0
        self.sub_taken, self.is_over = 0, False
        largest = max((length + len(file) + 256 for file, _, length, _ in self.list), default=0)
        self.slot = align(largest * self.batch + 4096)
        self.free = list(range(self.window))
        self.lent = {}

    def begin(self):
        session = self.session
        self.cmp = Ring("cmp", 0x434C4D4B, SEAL_SHRINK | SEAL_GROW | SEAL_FUTURE_WRITE | SEAL_SEAL, DESCRIPTOR)
        self.sub = Ring("sub", 0x534C4D4B, SEAL_SHRINK | SEAL_GROW | SEAL_SEAL, ENTRY)
        self.event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        info = Reply(id=self.request_id)
        told = info.stream_info
        told.cursor.CopyFrom(self.request.cursor)
        told.cursor.snapshot, told.cursor.order_version = self.data.snapshot, 1
        told.records, told.first_steps, told.steps = len(self.list), self.first_steps, self.steps
        told.window_batches, told.lends_cache = self.window, self.lends
        for name, kind in self.columns:
            told.columns.add(name=name, kind=kind)
        self.is_inline = self.request.is_inline
        self.slab_id = 0
        if self.is_inline:
            self.slab, self.lends = mmap.mmap(-1, self.slot), False
            session.send(info)
            return
        fds = [] if session.is_told("no-fds") else [self.cmp.fd, self.sub.fd, self.event]
        session.send(info, fds)
        seals = 0 if session.is_told("unsealed") else SEAL_SHRINK | SEAL_GROW | SEAL_FUTURE_WRITE | SEAL_SEAL
        fd, self.slab = memory("slab", self.slot * self.window, seals)
        self.slab_id = session.announce(fd, self.slot * self.window + (1 << 20) * session.is_told("short-segment"), False)
        os.close(fd)

    def place(self, position):
        cursor, step, epoch, ordinal = self.request.cursor, position, self.request.cursor.epoch, self.request.cursor.ordinal
        if position >= self.first_steps:
            epoch += 1 + (position - self.first_steps) // self.steps
            step, ordinal = (position - self.first_steps) % self.steps, 0
        order = KamlOrder()
        kind = {0: 2}.get(self.request.order, self.request.order)
        if ORDERS.kaml_order_init(ctypes.byref(order), 1, kind, len(self.list), cursor.seed, epoch, 1, 1):
            raise Failed(INVALID, "no such order")
        first = ordinal + (step * self.world + self.request.rank) * self.batch
        places = range(first, min(first + self.batch, len(self.list)))
        return [(place := ORDERS.kaml_order_record(ctypes.byref(order), at), *self.list[place]) for at in places]

    def lend(self, file):
        if file not in self.lent:
            path = os.path.join(self.data.root, file)
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self.lent[file] = self.session.announce(fd, os.path.getsize(path), True)
            os.close(fd)
        return self.lent[file]

    def write_batch(self, slot, rows):
        """The batch's bytes in the slot: table, columns, values. Returns whether anything is lent."""
        base, told = slot * self.slot, self.session.is_told
        view, lends = memoryview(self.slab), self.lends
        at, is_lent = align(base + 40 * len(self.columns)), False
        for number, (name, kind) in enumerate(self.columns):
            column, values, offsets = at, 0, 0
            if kind == INT64:
                data = struct.pack(f"<{len(rows)}q", *(row[4] for row in rows))
                view[at : at + len(data)] = data
                length, at = len(data), align(at + len(data))
            else:
                length = at = align(at + 32 * len(rows))
                length -= column
                packed, starts, entries = [], [0], []
                values = at
                for record, file, offset, size, _ in rows:
                    if name == "record" and lends and size > 0:
                        entries.append((offset, size, self.lend(file), record))
                        is_lent = True
                        continue
                    data = file.encode() if name == "path" else open(os.path.join(self.data.root, file), "rb").read()[offset : offset + size]
                    entries.append((at, len(data), self.slab_id, record))
                    view[at : at + len(data)] = data
                    at += len(data)
                    starts.append(at - values)
                at = align(at)
                if name == "record" and lends:
                    values = 0
                else:
                    offsets = at
                    if told("falling-offsets") and len(starts) > 2:
                        starts[1] = starts[-1] + 1
                    view[at : at + 8 * len(starts)] = struct.pack(f"<{len(starts)}q", *starts)
                    at = align(at + 8 * len(starts))
                for i, (offset, size, segment, record) in enumerate(entries):
                    if told("wild-entry"):
                        offset += 1 << 40
                    if told("unknown-segment"):
                        segment += 1000
                    struct.pack_into("<QQIIQ", self.slab, column + 32 * i, offset, size, segment, 0, record)
            if told("wild-column"):
                column = 1 << 45
            struct.pack_into("<QQIIQQ", self.slab, base + 40 * number, column, length, kind, 0, values, offsets)
        if told("noise"):
            chance = random.Random(self.sequence)
            for _ in range(chance.randint(0, 6)):
                place = base + chance.randrange(min(at - base, 1200))
                self.slab[place] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)])
        return base, at - base, is_lent

    def publish(self, kind, position, records=0, offset=0, length=0, flags=0, generation=None):
        generation = self.generation if generation is None else generation
        told = self.session.is_told
        sequence = self.sequence + (7 if told("wild-sequence") and self.sequence > 1 else 0)
        if told("wild-table"):
            length = 1 << 60
        data = struct.pack(
            "<QIBBHQQQII16s", sequence, self.slab_id, kind, flags, generation, offset, length, position, records, 0, b"\1" * 16
        )
        at = HEADER + (self.published % SLOTS) * DESCRIPTOR
        self.cmp.memory[at : at + DESCRIPTOR] = data
        self.published += 1
        self.sequence += 1
        self.cmp.words[TAIL // 8] = self.published + (1 << 20 if told("wild-tail") else 0)
        self.cmp.halves[WAKE // 4] = self.published & 0xFFFFFFFF
        LIBC.syscall(202, ctypes.c_void_p(self.cmp.address + WAKE), 1, 2**31 - 1, None, None, 0)
        return sequence

    def room(self):
        return self.published - self.sub.words[128 // 8] < SLOTS

    def work(self):
        self.take_releases()
        session = self.session
        while not self.is_over and self.free and self.room() and not session.is_told("silent"):
            if self.total is not None and self.next >= (4 if session.is_told("early-end") else self.total):
                self.publish(2, self.next)
                self.is_over = True
                return
            number = session.number("die-after")
            if number is not None and self.request.cursor.ordinal == 0 and self.next >= number:
                os._exit(9)
            if session.number("trouble-at") == self.next:
                trouble = Reply()
                trouble.trouble.code, trouble.trouble.message = CORRUPT, "shard-3.tfrecord: record 17 is damaged"
                trouble.trouble.remedy, trouble.trouble.position = "Mend the dataset.", self.next
                session.send(trouble)
                self.publish(3, self.next)
                self.next += 1
                continue
            slot = self.free.pop(0)
            rows = self.place(self.next)
            offset, length, is_lent = self.write_batch(slot, rows)
            records = len(rows) + (1 << 22 if session.is_told("many-records") else 0)
            position = self.next + (3 if session.is_told("skip") and self.next == 2 else 0)
            self.out[self.publish(1, position, records, offset, length, 2 if is_lent else 0)] = slot
            self.next += 1
            if session.number("end-segments") is not None and self.lent:
                session.send(Reply(segment_end={"ids": list(self.lent.values())}))
                self.lent = {}

    def piece(self, read, reply):
        if self.session.number("trouble-at") == read.position:
            raise Failed(CORRUPT, "shard-3.tfrecord: record 17 is damaged")
        time.sleep((self.session.number("slow") or 0) / 1000)
        rows, told = self.place(read.position), reply.batch_piece
        _, length, _ = self.write_batch(0, rows)
        told.kind, told.position, told.records, told.length = 1, read.position, len(rows), length
        told.inline = self.slab[read.offset : min(length, read.offset + 1000)]

    def take_releases(self):
        tail = self.sub.words[TAIL // 8]
        while self.sub_taken < tail:
            at = HEADER + (self.sub_taken % SLOTS) * ENTRY
            kind, _, sequence, used, waited = struct.unpack_from("<IIQQQ", self.sub.memory, at)
            if kind != 1 or sequence not in self.out:
                print(f"stub: release of {sequence}, kind {kind}, which is not out", file=sys.stderr, flush=True)
                os._exit(3)
            self.free.append(self.out.pop(sequence))
            self.sub_taken += 1
            self.session.server.released += 1
        self.cmp.words[TAKEN // 8] = self.sub_taken

    def seek(self, seek):
        self.next, self.generation, self.is_over = seek.position, seek.generation, False

    def close(self):
        for fd in (self.cmp.fd, self.sub.fd, self.event):
            os.close(fd)


class Session:
    def __init__(self, server, connection):
        self.server, self.connection, self.options = server, connection, server.options
        self.stream, self.segments = None, 0

    def is_told(self, name):
        return name in self.options.misbehave

    def number(self, name):
        return self.options.misbehave.get(name)

    def send(self, reply, fds=()):
        if fds:
            socket.send_fds(self.connection, [reply.SerializeToString()], fds)
        else:
            self.connection.send(reply.SerializeToString())

    def announce(self, fd, size, is_cache):
        self.segments += 1
        self.send(Reply(segments={"segments": [{"id": self.segments, "bytes": size, "is_cache": is_cache}]}), [fd])
        return self.segments

    def run(self):
        try:
            while True:
                fds = [self.connection]
                if self.stream:
                    self.stream.cmp.halves[AGENT_SLEEPS // 4] = 1
                    fds.append(self.stream.event)
                    self.stream.work()
                ready, _, _ = select.select(fds, [], [], 0.05)
                if self.stream and self.stream.event in ready:
                    os.eventfd_read(self.stream.event)
                if self.connection in ready:
                    data = self.connection.recv(65536)
                    if not data:
                        return
                    self.answer(Request.FromString(data))
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            self.connection.close()
            if self.stream:
                self.stream.close()

    def answer(self, request):
        reply = Reply(id=request.id)
        try:
            if self.is_told("garbage"):
                self.connection.send(b"\xff" * 100)
                return
            self.operate(request, reply)
        except Failed as failed:
            reply.failure.code, reply.failure.message = failed.code, str(failed)
            reply.failure.is_retryable, reply.failure.remedy = failed.is_retryable, "Look at the test."
        if reply.WhichOneof("result"):
            self.send(reply)

    def operate(self, request, reply):
        operation = request.WhichOneof("operation")
        if operation == "hello":
            reply.welcome.version = 9 if self.is_told("version") else 1
            reply.welcome.agent = "stub"
        elif operation == "open_stream":
            code = self.number("fail-open")
            if code is not None:
                raise Failed(code, "told to fail", code == UNAVAILABLE)
            stream = Stream(self, request.open_stream)
            stream.request_id = request.id
            stream.begin()
            if not stream.is_inline:
                self.stream = stream
            self.inline = stream
        elif operation == "seek":
            self.stream.seek(request.seek)
            reply.done.SetInParent()
        elif operation == "read_batch":
            self.inline.piece(request.read_batch, reply)
        elif operation == "stat":
            self.stat(request.stat, reply.attributes)
        elif operation == "list":
            self.list(request.list, reply.listing)
        elif operation == "read":
            self.read(request.read, reply.bytes)
        else:
            raise Failed(INVALID, "no operation")

    def path_of(self, request):
        data = Dataset(self.options.root, request.dataset)
        path = os.path.normpath(os.path.join(data.root, os.fsdecode(request.path)))
        if not os.path.exists(path):
            raise Failed(NOT_FOUND, f"{request.dataset}: no {os.fsdecode(request.path)}")
        return data, path

    def stat(self, request, told):
        data, path = self.path_of(request)
        status = os.stat(path)
        told.kind, told.bytes = (2, 0) if os.path.isdir(path) else (1, status.st_size)
        told.modified_nanoseconds, told.snapshot = status.st_mtime_ns, data.snapshot

    def list(self, request, told):
        data, path = self.path_of(request)
        names = [name for name in sorted(map(os.fsencode, os.listdir(path))) if name > request.after]
        for name in names[:3]:
            told.entries.add(name=name, kind=2 if os.path.isdir(os.path.join(os.fsencode(path), name)) else 1)
        told.is_last, told.snapshot = len(names) <= 3, data.snapshot

    def read(self, request, told):
        _, path = self.path_of(request)
        with open(path, "rb") as file:
            file.seek(request.offset)
            data = file.read(request.length)
            told.is_end = request.offset + len(data) >= os.path.getsize(path)
        if len(data) <= 4096:
            told.inline = data
            return
        fd, view = memory("read", len(data), SEAL_SHRINK | SEAL_GROW | SEAL_FUTURE_WRITE)
        view[:] = data
        told.segment, told.length = self.announce(fd, len(data), False), len(data)
        os.close(fd)


class Server:
    def __init__(self, options):
        self.options, self.released = options, 0
        options.misbehave = {
            name: int(number or 0) for name, _, number in (told.partition("=") for told in options.misbehave)
        }

    def run(self):
        if os.path.exists(self.options.socket):
            os.unlink(self.options.socket)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(self.options.socket)
        listener.listen(64)
        print("ready", flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=Session(self, connection).run, daemon=True).start()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("socket")
    parser.add_argument("root")
    parser.add_argument("--lend", action="store_true")
    parser.add_argument("--misbehave", action="append", default=[])
    Server(parser.parse_args()).run()
