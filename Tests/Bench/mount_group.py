"""GROUP=mount: reading through a mount, against ext4 directly and against other FUSE file systems.

"Warm" is everything in the kernel's page cache. "Mounted afresh" is: unmounted and mounted again, so that the kernel
knows nothing of the mount while the node's cache directory, and ext4's page cache below it, are as they were.

`kaml-bench readfiles` lists and stats a tree before it starts its clock, on every side alike: its rates are those of a
loader that knows its files, and leave out what the first lookups cost (the `find` rows measure those).
"""
import itertools
import os
import threading
import time
from functools import partial
from pathlib import Path

import datasets
from experiment import Experiment, Result, measures
from kaml import memory_of
from measure import alternate, best, rate, read_everything, regular_files, run
from s3_server import S3Server
from workspace import Workspace

EXPERIMENTS: list[Experiment] = []
SMALL_FILES = 2000


@measures(EXPERIMENTS, "warm-sequential", "warm-random", "cached-sequential", "cached-random")
def one_large_file(w: Workspace):
    source = datasets.one_large_file(w.data)
    store, point, cache = w.kaml.new_store(w.disk / "store"), w.disk / "mount", w.disk / "cache"
    w.kaml.commit(store, source)
    warm_reads = {"sequential": ("read", "1m", "16g"), "random": ("randread", "4k", "2g")}
    once_reads = {"sequential": ("read", "1m", "4g"), "random": ("randread", "4k", "2g")}

    def result(key: str, how: str, ours: list[float], theirs: list[float]) -> Result:
        words = [f"{max(side) / 1e6:,.0f} MB/s" if how == "sequential" else f"{max(side) / 4096:,.0f} reads/s"
                 for side in (ours, theirs)]
        return Result(f"{key}-{how}", max(ours) / max(theirs), words[0], f"{words[1]}, {w.peers.need('fio')}")

    read_everything(source)
    with w.kaml.mount(store, point, cache):
        read_everything(point)
        read_everything(point)
        for how, read in warm_reads.items():
            ours, theirs = alternate(w.rounds, lambda: w.peers.fio(point / "large.bin", *read),
                                     lambda: w.peers.fio(source / "large.bin", *read))
            yield result("warm", how, ours, theirs)

    def afresh(read: tuple[str, str, str]) -> float:
        with w.kaml.mount(store, point, cache):
            return w.peers.fio(point / "large.bin", *read)

    for how, read in once_reads.items():
        ours, theirs = alternate(w.rounds + 2, lambda: afresh(read), lambda: w.peers.fio(source / "large.bin", *read))
        yield result("cached", how, ours, theirs)


def files_rate(w: Workspace, directory: Path, *options: str) -> float:
    """Files a second that one thread opens, reads and closes; one pass over the tree unless told for how long."""
    answer = w.kaml.bench("readfiles", directory, "--threads", "1", *options)
    return answer["files"] / answer["seconds"]


@measures(EXPERIMENTS, "small-warm")
def small_files_warm(w: Workspace):
    source = datasets.small_files(w.data, SMALL_FILES)
    store, point = w.kaml.new_store(w.disk / "store"), w.disk / "mount"
    w.kaml.commit(store, source)
    with w.kaml.mount(store, point, w.disk / "cache"):
        for directory in (source, point):
            files_rate(w, directory)
        ours, theirs = alternate(w.rounds, lambda: files_rate(w, point, "--seconds", "3"),
                                 lambda: files_rate(w, source, "--seconds", "3"))
    yield Result("small-warm", max(ours) / max(theirs), f"{max(ours):,.0f} files/s", f"{max(theirs):,.0f} files/s")


@measures(EXPERIMENTS, "small-cached")
def small_files_cached(w: Workspace):
    source = datasets.small_files(w.data, SMALL_FILES)
    store, point = w.kaml.new_store(w.disk / "store"), w.disk / "mount"
    w.kaml.commit(store, source)
    server = w.using(S3Server("moto"))
    server.client().put_all((str(path.relative_to(source)), path.read_bytes()) for path in regular_files(source))
    mounts = {
        "kaml": lambda: w.kaml.mount(store, point, w.disk / "cache"),
        "rclone": lambda: w.peers.rclone_mount(source, point, w.disk / "rclone-cache"),
        "s3fs": lambda: w.peers.s3fs_mount(server, point, w.disk / "s3fs-cache"),
    }

    def afresh(name: str) -> float:
        with mounts[name]():
            return files_rate(w, point)

    for mount in mounts.values():
        with mount():
            read_everything(point)
    rounds = alternate(w.rounds, *(partial(afresh, name) for name in mounts))
    rates = {name: max(each) for name, each in zip(mounts, rounds)}
    ours = rates.pop("kaml")
    yield Result("small-cached", ours / max(rates.values()), f"{ours:,.0f} files/s",
                 "; ".join(f"{w.peers.need(name)}, {value:,.0f} files/s" for name, value in rates.items())
                 + " (s3fs from a moto server)")


@measures(EXPERIMENTS, "find-first", "find-second")
def find_over_the_mount(w: Workspace):
    source = datasets.kernel(w.data, datasets.KERNELS[1])
    store, point = w.kaml.new_store(w.disk / "store"), w.disk / "mount"
    w.kaml.commit(store, source)

    def find(directory: Path):
        return run("find", directory, "-type", "f", "-size", "+0")

    def afresh():
        with w.kaml.mount(store, point, w.disk / "cache"):
            return find(point), find(point)

    expected = len(find(source).output.splitlines())
    ours, theirs = alternate(w.rounds, afresh, lambda: find(source))
    for first, second in ours:
        if not len(first.output.splitlines()) == len(second.output.splitlines()) == expected:
            raise RuntimeError("find over the mount does not list what find over the source lists")
    ext4 = best(theirs).seconds
    for key, runs in zip(("find-first", "find-second"), zip(*ours)):
        yield Result(key, ext4 / best(list(runs)).seconds, f"{best(list(runs)).seconds:.3f} s", f"{ext4:.3f} s")


@measures(EXPERIMENTS, "synth-open", "synth-memory")
def ten_million_entries(w: Workspace):
    store, point = w.disk / "store", w.disk / "mount"
    made = w.kaml.bench("synth", "--entries", "10000000", "--store", store)
    what = made.get("dataset", "bench") + "@main"
    seconds, anonymous = [], []
    for number in range(w.rounds):
        start = time.monotonic()
        with w.kaml.mount(store, point, w.disk / f"cache-{number}", what) as mounted:
            os.stat(point / made["path"] if "path" in made else _first_file(point))
            seconds.append(time.monotonic() - start)
            walk = (name for _, _, names in os.walk(point) for name in names)
            walked = sum(1 for _ in itertools.islice(walk, 100_000))
            anonymous.append(memory_of(_pid(mounted))["RssAnon"])
    yield Result("synth-open", min(seconds), f"{min(seconds):.3f} s, empty cache, with the start of the process")
    value = max(anonymous) / 1e6
    yield Result("synth-memory", value, f"{value:.1f} MB after listing {walked:,} entries")


@measures(EXPERIMENTS, "lookups")
def lookups_in_process(w: Workspace):
    def lookups(*options: str) -> float:
        answer = w.kaml.bench("lookups", *options)
        return answer["lookups"] / answer["seconds"] / 1e6

    walk, scattered = map(max, alternate(w.rounds, lookups, lambda: lookups("--random")))
    yield Result("lookups", min(walk, scattered),
                 f"{walk:.2f} M/s in the order of a walk, {scattered:.2f} M/s at random, of 1 M entries")


@measures(EXPERIMENTS, "cold-memory")
def memory_while_reading_cold(w: Workspace):
    source = datasets.large_files(w.data, 4, 2 * datasets.GIB)
    store, point = w.kaml.new_store(w.disk / "store"), w.disk / "mount"
    w.kaml.commit(store, source)
    with w.kaml.mount(store, point, w.disk / "cache") as mounted:
        pid, samples, finished = _pid(mounted), [], threading.Event()

        def sample() -> None:
            while not finished.wait(0.05):
                samples.append(memory_of(pid))

        sampler = threading.Thread(target=sample)
        sampler.start()
        start = time.monotonic()
        try:
            read_everything(point, threads=4)
        finally:
            finished.set()
            sampler.join()
        seconds = time.monotonic() - start
        peak = memory_of(pid)["VmHWM"] / 1e6
    anonymous = max(each["RssAnon"] for each in samples) / 1e6
    yield Result("cold-memory", peak, f"{peak:.0f} MB at the most, of it {anonymous:.0f} MB anonymous; "
                 + rate(8 * datasets.GIB, seconds))


def _pid(mounted) -> int:
    if not mounted.pid:
        raise RuntimeError("the process that serves the mount was not found")
    return mounted.pid


def _first_file(directory: Path) -> Path:
    entries = os.scandir(directory)
    entry = next(entries)
    while entry.is_dir(follow_symlinks=False):
        entries = os.scandir(entry.path)
        entry = next(entries)
    return Path(entry.path)
