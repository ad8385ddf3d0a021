"""GROUP=faults: one damaged answer, then the fault is gone. Who gives wrong bytes without a word, and who keeps them?

Eight kinds of damage, a whole file and 2 MiB out of its middle, with and without a cache on disk: kaml (a committed
snapshot, and an imported object), rclone mount, s3fs and boto3, all through the same fault proxy, each time mounted
afresh with an empty cache. The damage meets the first GET of the object's bytes. Afterwards the file is read again: through the same mount once the
kernel has forgotten its pages, and through a new mount that finds the old cache. What is then still wrong has stayed.
"""
import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from experiment import Experiment, Result, measures
from measure import drop_page_cache, run
from peers import python_with_moto
from s3_server import FaultProxy, S3Server
from workspace import Workspace

EXPERIMENTS: list[Experiment] = []
SIZE, PART = 8 << 20, 2 << 20
# Of the fault proxy -> in words.
DAMAGES = {
    "bitflip": "one bit flipped", "rotated": "bytes in the wrong places", "zeros": "zeros",
    "short_clean": "too short, length to match", "truncated": "cut off", "html200": "HTML with status 200",
    "empty200": "nothing with status 200", "status": "503",
}
RIGHT, WRONG, ERROR = "right", "WRONG", "error"
# The goals are for what was committed. Of an imported object nobody knows the bytes before they are read for the first
# time: what its ETag tells can be checked, the rest cannot.
COMMITTED, IMPORTED = "kaml", "kaml import"


@dataclass(frozen=True)
class Way:
    """One way of reading: whose, how much, and whether a cache on disk is in use."""

    system: str
    ranged: bool
    cached: bool

    def words(self) -> str:
        return (f"{self.system}, {'2 MiB of it' if self.ranged else 'whole file'}, "
                f"{'cache on disk' if self.cached else 'no cache on disk'}")


@dataclass
class Outcome:
    """With the damage, and after it."""

    first: str
    later: str


class Bench:
    """The same object behind the same proxy for all; `mount` gives the path of the file in a mount."""

    def __init__(self, w: Workspace):
        self.w = w
        self.server = w.using(S3Server("rgw"))
        self.proxy = w.using(FaultProxy(self.server))
        self.bytes = os.urandom(SIZE)
        source = w.disk / "source"
        source.mkdir()
        (source / "file.bin").write_bytes(self.bytes)
        self.server.client().put("objects/file.bin", self.bytes)
        self.stores = {COMMITTED: self.server.store("store", self.proxy.endpoint),
                       IMPORTED: self.server.store("imported", self.proxy.endpoint)}
        w.kaml.commit(w.kaml.new_store(self.stores[COMMITTED]), source)
        w.kaml(w.kaml.new_store(self.stores[IMPORTED]), "import", "bench", f"s3://{self.server.bucket}/objects")
        self.number = 0

    def wanted(self, way: Way) -> bytes:
        return self.bytes[PART:2 * PART] if way.ranged else self.bytes

    def damage(self, kind: str) -> None:
        rule = {"fault": kind, "match": r"^GET .*(/packs/|objects/file\.bin)", "count": 1}
        self.proxy.tell(rules=[rule | ({"argument": 503} if kind == "status" else {})])

    def measure(self, way: Way, kind: str) -> Outcome:
        self.number += 1
        place = self.w.disk / f"way-{self.number}"
        self.proxy.tell(rules=[])
        if way.system == "boto3":
            self.damage(kind)
            first = self._boto3(way)
            self._check_damage_was_met(way, kind)
            return Outcome(first, self._boto3(way))
        drop_page_cache()
        with self._mount(way, place) as file:
            self.damage(kind)
            first = self._read(way, file)
            self._check_damage_was_met(way, kind)
            self.proxy.tell(rules=[])
            drop_page_cache()
            later = self._read(way, file)
        if way.cached:
            with self._mount(way, place) as file:
                again = self._read(way, file)
                later = again if later == RIGHT else later
        return Outcome(first, later)

    def _check_damage_was_met(self, way: Way, kind: str) -> None:
        if not self.proxy.tell(reset=True).get(f"fault {kind}"):
            raise RuntimeError(f"{way.words()} never met the damage: {kind}")

    @contextlib.contextmanager
    def _mount(self, way: Way, place: Path) -> Iterator[Path]:
        point, cache = place / "mount", place / "cache"
        place.mkdir(exist_ok=True)
        endpoint = self.proxy.endpoint
        with contextlib.ExitStack() as stack:
            match way.system:
                case name if name in self.stores:
                    if not way.cached:
                        stack.enter_context(_full_disk(cache))
                    stack.enter_context(self.w.kaml.mount(self.stores[name], point, cache))
                case "rclone":
                    remote, env = self.w.peers.rclone_remote(self.server, endpoint)
                    stack.enter_context(self.w.peers.rclone_mount(f"{remote}/objects", point, cache, env=env,
                                                                  mode="full" if way.cached else "off"))
                case "s3fs":
                    stack.enter_context(self.w.peers.s3fs_mount(self.server, point, cache if way.cached else None,
                                                                endpoint=endpoint))
            file = point / ("objects/file.bin" if way.system == "s3fs" else "file.bin")
            os.stat(file)
            yield file

    def _read(self, way: Way, file: Path) -> str:
        """By a process of its own: one that hangs for 20 s is an error too, and cannot even be killed."""
        command = ["dd", f"if={file}", "bs=1M", "status=none"]
        command += [f"skip={PART >> 20}", f"count={PART >> 20}"] if way.ranged else []

        def digest() -> str:
            with tempfile.TemporaryFile(dir=self.w.disk) as output:
                reader = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.DEVNULL)
                try:
                    if reader.wait(20):
                        raise RuntimeError("dd failed")
                except subprocess.TimeoutExpired:
                    reader.kill()
                    raise
                output.seek(0)
                return hashlib.sha256(output.read()).hexdigest()

        return self._judge(way, digest)

    def _judge(self, way: Way, read: Callable[[], str]) -> str:
        try:
            digest = read()
        except Exception:
            return ERROR
        return RIGHT if digest == hashlib.sha256(self.wanted(way)).hexdigest() else WRONG

    def _boto3(self, way: Way) -> str:
        script = Path(__file__).with_name("boto3_get.py")
        part = [str(PART), str(2 * PART - 1)] if way.ranged else []
        return self._judge(way, lambda: run(python_with_moto(), script, self.proxy.endpoint, self.server.bucket,
                                            "objects/file.bin", *part, env=self.server.keys,
                                            timeout=120).output.strip())


@contextlib.contextmanager
def _full_disk(place: Path) -> Iterator[None]:
    """kaml always has a cache; on a disk without room it keeps nothing and reads through."""
    place.mkdir(exist_ok=True)
    run("mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "none", place)
    try:
        yield
    finally:
        run("umount", "-l", place)


def ways() -> list[Way]:
    mounts = [Way(system, ranged, cached) for system in (COMMITTED, IMPORTED, "rclone", "s3fs")
              for cached in (True, False) for ranged in (False, True)]
    return mounts + [Way("boto3", ranged, False) for ranged in (False, True)]


@measures(EXPERIMENTS, "faults-wrong", "faults-stayed", "faults-right")
def damaged_answers(w: Workspace):
    for program in ("rclone", "s3fs"):
        w.peers.need(program)
    bench = Bench(w)
    table: dict[Way, dict[str, Outcome]] = {}
    for way in ways():
        table[way] = {kind: bench.measure(way, kind) for kind in DAMAGES}
        print(f"   {way.words()}: " + ", ".join(f"{kind} {each.first}/{each.later}"
                                                for kind, each in table[way].items()), file=sys.stderr, flush=True)
    rows = [_row(w, way, outcomes) for way, outcomes in table.items()]
    _print(rows)
    ours = [row for row in rows if row["system"] == COMMITTED]
    theirs = [row for row in rows if row["system"] != COMMITTED]

    def reference(column: str) -> str:
        return "; ".join(f"{row['version']} {row['way']}: {row[column]}" for row in theirs)

    for key, column, choose in (("faults-wrong", "wrong", sum), ("faults-stayed", "stayed", sum),
                                ("faults-right", "right", min)):
        value = choose(row[column] for row in ours)
        yield Result(key, value, "; ".join(f"{row['way']}: {row[column]}" for row in ours), reference(column),
                     details=rows if key == "faults-wrong" else None)


def _row(w: Workspace, way: Way, outcomes: dict[str, Outcome]) -> dict:
    first, later = (Counter(side) for side in zip(*((each.first, each.later) for each in outcomes.values())))
    version = w.peers.need(way.system) if way.system in ("rclone", "s3fs") else way.system
    return {
        "system": way.system, "version": version, "way": way.words().split(", ", 1)[1],
        "wrong": first[WRONG], "errors": first[ERROR], "right": first[RIGHT],
        "stayed": later[WRONG], "failing": later[ERROR],
        "kinds": {DAMAGES[kind]: [each.first, each.later] for kind, each in outcomes.items()},
    }


def _print(rows: list[dict]) -> None:
    print(f"\nOne damaged answer of {len(DAMAGES)} kinds, then the fault is gone:\n")
    print("| reader | way | wrong bytes, silently | an error | right, unnoticed | wrong later | error later |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        print(f"| {row['version']} | {row['way']} | {row['wrong']} | {row['errors']} | {row['right']} | "
              f"{row['stayed']} | {row['failing']} |")
    print()
