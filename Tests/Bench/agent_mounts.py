"""GROUP=agent, the mounts: what users notice when the agent is killed or replaced, and what a thousand mounts cost."""
import os
import random
import shutil
import signal
import time
from pathlib import Path

from agent_node import Node
from experiment import Experiment, Result, measures
from kaml import memory_of
from workspace import Workspace

EXPERIMENTS: list[Experiment] = []
KILLS = 1000
UPGRADES = 20
MOUNTS = 1000


def _tree(directory: Path) -> Path:
    """Two large files, and small ones in a few directories."""
    generator = random.Random(7)
    for folder in range(8):
        (directory / f"dir{folder}").mkdir(parents=True)
        for number in range(50):
            (directory / f"dir{folder}" / f"small{number}").write_bytes(generator.randbytes(200 + number * 600))
    for number in range(2):
        (directory / f"large{number}").write_bytes(generator.randbytes(64 << 20))
    return directory


def _loaded(w: Workspace, node: Node, profile: str):
    source, store = _tree(w.disk / f"source-{profile}"), w.kaml.new_store(w.disk / f"store-{profile}")
    w.kaml.commit(store, source)
    node.start_agent()
    node.wait_until_ready()
    return node.load(node.mount(store, "bench", "loaded", "--profile", profile), source)


def _quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def _bad(outcome: dict) -> int:
    if not outcome["reads"]:
        raise RuntimeError("nothing was read")
    return outcome["errors"] + outcome["wrong"] + outcome["hung"]


@measures(EXPERIMENTS, "agent-kill-errors", "agent-kill-stall")
def killed(w: Workspace):
    """Half of the kills for each profile, at random moments, also while the agent starts."""
    kills, waits, bad, words = w.scaled(KILLS, 10), [], 0, []
    for profile in ("large", "small"):
        with Node(w) as node:
            load = _loaded(w, node, profile)
            load.longest_wait()
            for number in range(kills // 2):
                time.sleep(random.uniform(0, 0.25))
                node.end_agent(signal.SIGKILL)
                node.start_agent()
                if number % 10 == 0:
                    continue
                node.wait_until_ready()
                time.sleep(0.02)
                waits.append(load.longest_wait())
            node.wait_until_ready()
            time.sleep(1)
            outcome = load.outcome()
            bad += _bad(outcome)
            words.append(f"{outcome['reads']:,} reads ({profile})")
    yield Result("agent-kill-errors", bad, f"{kills} kills, " + ", ".join(words) + ", none wrong" * (bad == 0))
    yield Result("agent-kill-stall", _quantile(waits, 0.99),
                 f"longest wait of each kill: p50 {_quantile(waits, 0.5):.0f}, p99 {_quantile(waits, 0.99):.0f}, "
                 f"max {max(waits):.0f} ms")


@measures(EXPERIMENTS, "agent-upgrade-errors", "agent-upgrade-stall")
def upgraded(w: Workspace):
    """To another file of the program and back, ended in order each time, as a package's update does."""
    other = w.disk / "kamld-other"
    waits, bad, reads = [], 0, 0
    for profile in ("large", "small"):
        with Node(w) as node:
            shutil.copy2(node.bin / "kamld", other)
            load = _loaded(w, node, profile)
            load.longest_wait()
            for number in range(UPGRADES):
                time.sleep(0.3)
                node.end_agent(signal.SIGTERM)
                node.start_agent(other if number % 2 == 0 else None)
                node.wait_until_ready()
                time.sleep(0.05)
                waits.append(load.longest_wait())
            outcome = load.outcome()
            bad += _bad(outcome)
            reads += outcome["reads"]
    yield Result("agent-upgrade-errors", bad, f"{len(waits)} changes, {reads:,} reads")
    yield Result("agent-upgrade-stall", max(waits) / 1000,
                 f"longest wait of each: p50 {_quantile(waits, 0.5):.0f}, max {max(waits):.0f} ms")


@measures(EXPERIMENTS, "agent-idle-memory", "agent-mounts-memory", "agent-scrape-seconds", "agent-scrape-bytes")
def a_thousand_mounts(w: Workspace):
    """Each of 100 k files, with one directory of each listed."""
    mounts = w.scaled(MOUNTS, 10)
    store = w.disk / "synth-store"
    made = w.kaml.bench("synth", "--entries", "100000", "--store", store)
    with Node(w) as node:
        node.start_agent()
        node.wait_until_ready()
        time.sleep(1)
        idle = memory_of(node.agent.pid)["RssAnon"]
        yield Result("agent-idle-memory", idle / 1e6, f"{idle / 1e6:.1f} MB")
        start = time.monotonic()
        for number in range(mounts):
            point = node.mount(store, made.get("dataset", "bench") + "@main", f"m{number}")
            # The kernel's readdirplus over one directory of a thousand files.
            with os.scandir(point) as folders:
                folder = next(folders).path
            os.listdir(folder)
        seconds = time.monotonic() - start
        anonymous = memory_of(node.agent.pid)["RssAnon"]
        yield Result("agent-mounts-memory", anonymous / 1e6,
                     f"{anonymous / 1e6:.1f} MB, {mounts} mounts made in {seconds:.0f} s")
        times, size = [], 0
        for _ in range(20):
            start = time.monotonic()
            size = len(node.get("/metrics"))
            times.append(time.monotonic() - start)
        yield Result("agent-scrape-seconds", _quantile(times, 0.5) * 1000,
                     f"median {_quantile(times, 0.5) * 1000:.1f}, slowest {max(times) * 1000:.1f} ms")
        yield Result("agent-scrape-bytes", size / 1e6, f"{size:,} B")
        start = time.monotonic()
        node.end_agent(signal.SIGKILL)
        node.start_agent()
        node.wait_until_ready()
        print(f"a killed agent served {mounts} mounts again after {time.monotonic() - start:.2f} s")
