"""GROUP=s3: first epochs from a Ceph RGW on this machine, against rclone mount, s3fs and boto3 on the same bytes.

The server shares the two cores with its clients, so every figure of speed has the processor time beside it. Peers are
slow over many small objects: each of their runs is bounded by files and time, and its rate is taken; the row says so.
Requests and fetched bytes are those in RGW's own log.
"""
import contextlib
import os
import random
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import datasets
from experiment import Experiment, Result, measures
from kaml import memory_of
from measure import (Reading, alternate, best, drop_page_cache, megabytes, rate, read_everything, read_until,
                     regular_files, run)
from s3_server import Bucket, FaultProxy, S3Server, cpu_of
from workspace import Workspace

EXPERIMENTS: list[Experiment] = []
PEER_SECONDS, PEER_FILES = 30, 300
MIB, GB = 1 << 20, 1e9


@dataclass
class Timed:
    """A reading, with the processor time it took on the side of the mount and on the server's."""

    reading: Reading
    client: float
    server: float

    def words(self) -> str:
        gigabytes = self.reading.bytes / GB
        return (f"{self.reading.rate / 1e6:,.0f} MB/s, CPU {self.client / gigabytes:.2f} s/GB and "
                f"{self.server / gigabytes:.2f} s/GB of the server")

    def files(self) -> str:
        return f"{self.reading.files_rate:,.0f} files/s"


def timed(server: S3Server, pid: int, read: Callable[[], Reading]) -> Timed:
    client, serving = cpu_of(pid), server.cpu()
    own = os.times()
    reading = read()
    after = os.times()
    reader = after.user - own.user + after.system - own.system
    return Timed(reading, cpu_of(pid) - client + reader, server.cpu() - serving)


class Cold:
    """Mounts over one server, each time with an empty cache of its own."""

    def __init__(self, w: Workspace, server: S3Server):
        self.w, self.server, self.number = w, server, 0

    def kaml(self, store: Bucket, read: Callable[[Path], Reading], what: str = "bench@main") -> Timed:
        point, cache = self._places("kaml")
        with self.w.kaml.mount(store, point, cache, what) as mounted:
            return timed(self.server, mounted.pid, lambda: read(point))

    def rclone(self, prefix: str, read: Callable[[Path], Reading], *options: str, mode: str = "off") -> Timed:
        point, cache = self._places("rclone")
        remote, env = self.w.peers.rclone_remote(self.server)
        with self.w.peers.rclone_mount(f"{remote}/{prefix}", point, cache, *options, mode=mode, env=env) as process:
            return timed(self.server, process.pid, lambda: read(point))

    def s3fs(self, prefix: str, read: Callable[[Path], Reading], *options: str, cached: bool = False) -> Timed:
        point, cache = self._places("s3fs")
        with self.w.peers.s3fs_mount(self.server, point, cache if cached else None, *options) as process:
            return timed(self.server, process.pid, lambda: read(point / prefix))

    def peers(self, prefix: str, read: Callable[[Path], Reading]) -> "Peers":
        """Each peer as it comes and tuned, with and without its cache on disk."""
        # No request for what the listing told, large buffers, large and growing ranges.
        rclone = ["--no-modtime", "--s3-no-head-object", "--vfs-fast-fingerprint", "--buffer-size", "64Mi",
                  "--vfs-read-chunk-size", "64Mi"]
        # 16 requests of 16 MiB at a time.
        s3fs = ["parallel_count=16", "multipart_size=16", "multireq_max=64"]
        return Peers(self.w, {
            "rclone": {
                "as it comes": self.rclone(prefix, read),
                "tuned": self.rclone(prefix, read, *rclone),
                "tuned, with a cache": self.rclone(prefix, read, *rclone, "--vfs-read-ahead", "256Mi", mode="full"),
            },
            "s3fs": {
                "as it comes": self.s3fs(prefix, read),
                "tuned": self.s3fs(prefix, read, *s3fs),
                "tuned, with a cache": self.s3fs(prefix, read, *s3fs, cached=True),
            },
        })

    def _places(self, name: str) -> tuple[Path, Path]:
        self.number += 1
        drop_page_cache()
        return self.w.disk / f"{name}-{self.number}", self.w.disk / f"{name}-cache-{self.number}"


@dataclass
class Peers:
    """How the peers read, by name and by way; the best way of any of them is what kaml is compared with."""

    w: Workspace
    runs: dict[str, dict[str, Timed]]

    def best(self, measure: Callable[[Reading], float]) -> float:
        return max(measure(each.reading) for ways in self.runs.values() for each in ways.values())

    def words(self, say: Callable[[Timed], str]) -> str:
        return "; ".join(f"{self.w.peers.need(name)}: " + ", ".join(f"{say(each)} {way}" for way, each in ways.items())
                         for name, ways in self.runs.items())


@measures(EXPERIMENTS, "s3-large-mounts", "s3-large-boto3")
def one_large_file(w: Workspace):
    source = datasets.one_large_file(w.data, w.scaled(4 * datasets.GIB, 64 * MIB))
    server = w.using(S3Server("rgw", "--capacity-gb", "10"))
    cold = Cold(w, server)
    store = w.kaml.new_store(server.store("store"))
    w.kaml.commit(store, source)
    # The peers read the pack itself: the same bytes, in one object, for everybody.
    pack, size = max(server.client().list("store/packs/"), key=lambda each: each[1])
    folder, name = pack.rsplit("/", 1)

    def whole(point: Path) -> Reading:
        return read_until([point / "large.bin"])

    def bounded(point: Path) -> Reading:
        return read_until([point / name], PEER_SECONDS)

    ours, boto3 = alternate(min(w.rounds, 2), lambda: cold.kaml(store, whole),
                            lambda: w.peers.boto3_ranges(server, pack, 8, 8 * MIB))
    kaml = max(ours, key=lambda each: each.reading.rate)
    peers = cold.peers(folder, bounded)
    yield Result("s3-large-mounts", kaml.reading.rate / peers.best(lambda reading: reading.rate), kaml.words(),
                 peers.words(Timed.words) + f"; at most {PEER_SECONDS} s of each")
    fastest = min(boto3, key=lambda each: each["seconds"])
    yield Result("s3-large-boto3", kaml.reading.rate / (size / fastest["seconds"]), kaml.words(),
                 f"{rate(size, fastest['seconds'])}, CPU {fastest['cpu'] / (size / GB):.2f} s/GB")


@measures(EXPERIMENTS, "s3-small-order", "s3-small-random", "s3-small-imported", "s3-small-requests")
def small_files(w: Workspace):
    source = datasets.small_files(w.data, w.scaled(20_000, 400), 100 << 10)
    names = [path.relative_to(source) for path in regular_files(source)]
    shuffled = random.Random(5).sample(names, len(names))
    server = w.using(S3Server("rgw", "--capacity-gb", "12"))
    cold = Cold(w, server)
    server.client().put_all((f"objects/{name}", (source / name).read_bytes()) for name in names)
    store = w.kaml.new_store(server.store("store"))
    w.kaml.commit(store, source)

    def read(order: list[Path]) -> Callable[[Path], Reading]:
        return lambda point: read_until(point / name for name in order)

    def bounded(order: list[Path]) -> Callable[[Path], Reading]:
        return lambda point: read_until((point / name for name in order[:PEER_FILES]), PEER_SECONDS)

    bound = f"; the first {PEER_FILES} files, at most {PEER_SECONDS} s of each"
    peers = cold.peers("objects", bounded(names))
    best_in_order, in_order = peers.best(lambda reading: reading.files_rate), peers.words(Timed.files) + bound
    mark = server.mark()
    ours = cold.kaml(store, read(names))
    served = server.served_since(mark)
    yield Result("s3-small-order", ours.reading.files_rate / best_in_order, f"{ours.files()}, {ours.words()}", in_order)
    yield Result("s3-small-requests", served.gets / len(names), f"{served.gets} GET, {served.lists} LIST",
                 f"{len(names):,} files")

    peers = cold.peers("objects", bounded(shuffled))
    ours = cold.kaml(store, read(shuffled))
    yield Result("s3-small-random", ours.reading.files_rate / peers.best(lambda reading: reading.files_rate),
                 f"{ours.files()}, {ours.words()}", peers.words(Timed.files) + bound)

    imported = w.kaml.new_store(server.store("imported"))
    w.kaml(imported, "import", "bench", f"s3://{server.bucket}/objects")
    ours = cold.kaml(imported, read(names))
    yield Result("s3-small-imported", ours.reading.files_rate / best_in_order, f"{ours.files()}, {ours.words()}",
                 in_order)


def fetched_for_second(w: Workspace, server: S3Server, store: Bucket, second: Path) -> int:
    """Reads the snapshot that is there, commits the second version, and gives the bytes that reading that fetches."""
    cache = w.disk / "cache"
    with w.kaml.mount(store, w.disk / "first", cache) as mounted:
        read_everything(mounted.point, threads=4)
    w.kaml.commit(store, second)
    mark = server.mark()
    with w.kaml.mount(store, w.disk / "second", cache) as mounted:
        read_everything(mounted.point, threads=4)
    return server.served_since(mark).get_bytes


@measures(EXPERIMENTS, "s3-kernel-fetched")
def second_kernel(w: Workspace):
    first, second = (_part(w, datasets.kernel(w.data, version)) for version in datasets.KERNELS)
    server = w.using(S3Server("rgw"))
    store = w.kaml.new_store(server.store("store"))
    w.kaml.commit(store, first)
    fetched = fetched_for_second(w, server, store, second)
    changed = datasets.changed_files(first, second)
    alone = datasets.zstd_bytes(changed)
    yield Result("s3-kernel-fetched", fetched / alone, f"{megabytes(fetched)}, manifests and all",
                 f"{len(changed):,} files, {megabytes(alone)}")


def _part(w: Workspace, tree: Path) -> Path:
    """The whole tree, or its documentation when the bench itself is tried."""
    return tree if w.scale >= 1 else tree / "Documentation"


@measures(EXPERIMENTS, "s3-edited-fetched")
def edited_in_place(w: Workspace):
    tree = w.disk / "tree"
    run("cp", "-a", datasets.one_large_file(w.data, w.scaled(4 * datasets.GIB, 256 * MIB)), tree)
    server = w.using(S3Server("rgw", "--capacity-gb", "10"))
    store = w.kaml.new_store(server.store("store"))
    w.kaml.commit(store, tree)
    edited, chunks = datasets.edit_one_percent(tree / "large.bin")
    fetched = fetched_for_second(w, server, store, tree)
    yield Result("s3-edited-fetched", fetched / chunks, f"{megabytes(fetched)}, manifests and all",
                 f"{megabytes(chunks)} in 1 MiB chunks, for {megabytes(edited)} edited")


@measures(EXPERIMENTS, "s3-import")
def import_many(w: Workspace):
    count = w.scaled(100_000, 2000)
    server = w.using(S3Server("rgw", "--capacity-gb", "6"))
    server.client().put_all(((f"many/{number // 1000:03}/{number:06}.bin", b"%06d" % number)
                             for number in range(count)), threads=12)
    remote, env = w.peers.rclone_remote(server)
    w.peers.need("rclone")
    numbers = iter(range(1000))

    def kaml():
        store = w.kaml.new_store(server.store(f"store-{next(numbers)}"))
        return w.kaml(store, "import", "bench", f"s3://{server.bucket}/many")

    def lsf(*options: str):
        done = run("rclone", "--config", "/dev/null", "lsf", "-R", "--files-only", *options, f"{remote}/many", env=env)
        if len(done.output.splitlines()) != count:
            raise RuntimeError("rclone lsf does not list all objects")
        return done

    ours, plain, fast = map(best, alternate(w.rounds, kaml, lsf, lambda: lsf("--fast-list")))
    theirs = min(plain.seconds, fast.seconds)
    yield Result("s3-import", ours.seconds / theirs, f"{ours.seconds:.2f} s, {count / ours.seconds:,.0f} objects/s",
                 f"{w.peers.need('rclone')}, {plain.seconds:.2f} s, with --fast-list {fast.seconds:.2f} s")


@measures(EXPERIMENTS, "s3-memory")
def memory_of_eight_readers(w: Workspace):
    source = datasets.large_files(w.data, 8, w.scaled(datasets.GIB, 32 * MIB))
    server = w.using(S3Server("rgw", "--capacity-gb", "12", "--chunk-mb", "1"))
    store, point = w.kaml.new_store(server.store("store")), w.disk / "mount"
    w.kaml.commit(store, source)
    drop_page_cache()
    with w.kaml.mount(store, point, w.disk / "cache") as mounted, sampling(mounted.pid) as anonymous:
        start = time.monotonic()
        read_everything(point, threads=8)
        seconds = time.monotonic() - start
        peak = memory_of(mounted.pid)["VmHWM"] / 1e6
    total = sum(path.stat().st_size for path in regular_files(source))
    yield Result("s3-memory", peak, f"{peak:.0f} MB at the most, of it {max(anonymous) / 1e6:.0f} MB anonymous; "
                 + rate(total, seconds))


@contextlib.contextmanager
def sampling(pid: int):
    """Collects the process's anonymous memory twenty times a second."""
    samples, finished = [0], threading.Event()

    def sample() -> None:
        while not finished.wait(0.05):
            samples.append(memory_of(pid)["RssAnon"])

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield samples
    finally:
        finished.set()
        sampler.join()


@measures(EXPERIMENTS, "s3-latency")
def one_cold_read(w: Workspace):
    """Files of 8 MiB have packs of their own, so that each first read is cold; names are looked up before."""
    count, size = 24, 8 * MIB
    source = w.disk / "source"
    source.mkdir()
    for number in range(count):
        (source / f"{number:02}").write_bytes(os.urandom(size))
    server = w.using(S3Server("rgw"))
    proxy = w.using(FaultProxy(server))
    store = w.kaml.new_store(server.store("store"))
    w.kaml.commit(store, source)
    server.client().put("plain", os.urandom(size))
    bare = server.client()
    bare.host, bare.port = "127.0.0.1", int(proxy.endpoint.rsplit(":", 1)[1])
    places = random.Random(3)
    proxy.tell(delay=0.02)

    def request() -> float:
        first = places.randrange(size // 4096) * 4096
        start = time.monotonic()
        bare.need("GET", "plain", headers={"range": f"bytes={first}-{first + 4095}"})
        return time.monotonic() - start

    def cold_read(file: int) -> float:
        first = places.randrange(size // 4096) * 4096
        start = time.monotonic()
        if len(os.pread(file, 4096, first)) != 4096:
            raise RuntimeError("a short read")
        return time.monotonic() - start

    with w.kaml.mount(server.store("store", proxy.endpoint), w.disk / "mount", w.disk / "cache") as mounted:
        files = [os.open(mounted.point / name, os.O_RDONLY) for name in sorted(os.listdir(mounted.point))]
        try:
            request()
            pairs = [(cold_read(file), request()) for file in files]
        finally:
            for file in files:
                os.close(file)
    ours, theirs = (statistics.median(side) for side in zip(*pairs))
    yield Result("s3-latency", ours / theirs, f"{ours * 1e3:.1f} ms, median of {count} files of 8 MiB",
                 f"{theirs * 1e3:.1f} ms")
