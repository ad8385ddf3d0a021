"""GROUP=feed: records from the node's agent into a pod, against memory itself and against other ways into TensorFlow.

Everything is warm: the dataset is in the node's cache and in the page cache, as in a second epoch. Each consumer is a
process of its own, on the same two cores as the agent, whose processor time counts.
"""
import contextlib
from functools import partial
from pathlib import Path

from agent_node import Node
from experiment import Experiment, Result, measures
from feed_peers import Pod, cpu_of, proportional_set
from kaml import memory_of
from measure import alternate, run
from workspace import Workspace

EXPERIMENTS: list[Experiment] = []
MIB = 1 << 20
# Slots that memcpy goes through: as many as the agent has in use for a stream that takes its window.
WINDOW = 4
# What one H100 takes in MLPerf Storage's ResNet-50: 400 samples of 114,660 bytes in 0.224 s.
H100_RECORDS = 1786


class FeedNode(Node):
    """A node whose store has datasets, warmed, and that feeds them."""

    def __init__(self, w: Workspace):
        self.store = w.disk / "store"
        w.kaml.new_store(self.store)
        super().__init__(w, "--stores-default", "bench", "--stores-bench-url", f"file://{self.store}")
        self.w, self.feed = w, self.run / "feed" / "feed.sock"

    def serve(self, **sources: Path) -> "FeedNode":
        for name, source in sources.items():
            self.w.kaml.commit(self.store, source, name)
        self.start_agent()
        self.wait_until_ready()
        for name in sources:
            run(self.bin / "kaml", "warm", f"{name}@main", "--agent", self.socket, "--store", "bench")
        return self

    def cpu(self) -> float:
        return cpu_of(self.agent.pid)


@contextlib.contextmanager
def node(w: Workspace, **sources: Path):
    with FeedNode(w) as serving:
        yield serving.serve(**sources)


def per_second(answer: dict, what: str) -> float:
    return answer[what] / answer["seconds"]


def records_rate(answer: dict) -> float:
    return per_second(answer, "records")


@measures(EXPERIMENTS, "feed-mapped", "feed-slots-1m", "feed-slots-100k")
def planes_against_memory(w: Workspace):
    pod = Pod(w)
    large = pod.data("records", MIB - 16, w.scaled(1024), 4)
    small = pod.data("records", 100 << 10, w.scaled(10_240), 8)
    first = next(large.iterdir())

    with node(w, large=large, small=small) as n:
        def feed(dataset: str, batch: int, plane: str) -> float:
            answer = pod.consume("feed", n.feed, f"{dataset}@main", "tfrecord", batch, plane, 3)
            if (plane == "mapped") != answer["mapped"]:
                raise RuntimeError(f"plane {plane} was asked for, and batches lie elsewhere")
            return per_second(answer, "bytes")

        def memory(*words: object) -> float:
            return per_second(pod.consume(*words, 2), "bytes")

        rows = [("feed-mapped", partial(feed, "large", 16, "mapped"), partial(memory, "map", first), "in-place read"),
                ("feed-slots-1m", partial(feed, "large", 16, "slots"), partial(memory, "copy", first, 16 * MIB, WINDOW), "memcpy"),
                ("feed-slots-100k", partial(feed, "small", 160, "slots"), partial(memory, "copy", first, 16 * MIB, WINDOW), "memcpy")]
        for key, ours, bound, word in rows:
            mine, theirs = map(max, alternate(w.rounds, ours, bound))
            yield Result(key, mine / theirs, f"{mine / 1e9:.2f} GB/s, every cache line read", f"{theirs / 1e9:.2f} GB/s {word}")


@measures(EXPERIMENTS, "feed-tf-100k", "feed-tf-100k-cpu", "feed-h100", "feed-peers")
def records_of_100_kib(w: Workspace):
    pod = Pod(w)
    source, tars = (pod.data(kind, 114_660, 10_008, 8) for kind in ("records", "tars"))
    how = ("--batch", 32, "--seconds", 4)
    with node(w, images=source) as n:
        def kaml() -> dict:
            before = n.cpu()
            answer = pod.read("kaml", source, *how, "--dataset", "images@main", "--socket", n.feed)
            # The agent's share cannot be told apart from what it did before the clock ran: by time.
            share = answer["seconds"] / (answer["seconds"] + answer["warm"])
            return answer | {"cpu": answer["cpu"] + (n.cpu() - before) * share}

        for directory in (source, tars):
            for path in directory.iterdir():
                path.read_bytes()
        ours, theirs = (max(each, key=records_rate) for each in alternate(
            max(1, w.rounds - 1), kaml, lambda: pod.read("tfrecord", source, *how)))
        (rate, cpu), (their_rate, their_cpu) = ((records_rate(each), each["cpu"] / each["records"] * 1e6)
                                                for each in (ours, theirs))
        said = f"{rate:,.0f} records/s, {cpu:.0f} us of processor a record"
        yield Result("feed-tf-100k", rate / their_rate, said, f"{their_rate:,.0f} records/s, {their_cpu:.0f} us")
        yield Result("feed-tf-100k-cpu", cpu / their_cpu, f"{cpu:.0f} us", f"{their_cpu:.0f} us")
        cores = ours["cpu"] / ours["seconds"]
        yield Result("feed-h100", rate / cores / H100_RECORDS, f"{rate / cores:,.0f} records/s for each core used",
                     f"{H100_RECORDS:,} records/s")
        peers = {"tf.data service": ("service", source), "webdataset": ("webdataset", tars), "ray": ("ray", source)}
        rates = {name: records_rate(pod.read(*which, *how)) for name, which in peers.items()}
        yield Result("feed-peers", rate / max(rates.values()), said,
                     "; ".join(f"{name} {value:,.0f} records/s" for name, value in rates.items()))


@measures(EXPERIMENTS, "feed-tf-128", "feed-tf-1k")
def small_records(w: Workspace):
    pod = Pod(w)
    sizes = {"tiny": (128, 1_000_000), "small": (1024, 400_000)}
    sources = {name: pod.data("records", *shape, 4) for name, shape in sizes.items()}
    with node(w, **sources) as n:
        for key, (name, source) in zip(("feed-tf-128", "feed-tf-1k"), sources.items()):
            mine, theirs = alternate(
                max(1, w.rounds - 1),
                lambda: per_second(pod.read("kaml", source, "--batch", 1024, "--seconds", 3, "--dataset", f"{name}@main",
                                            "--socket", n.feed), "records"),
                lambda: per_second(pod.read("tfrecord", source, "--batch", 1024, "--seconds", 3, "--shuffle", 10_000),
                                   "records"))
            yield Result(key, max(mine) / max(theirs), f"{max(mine):,.0f} records/s", f"{max(theirs):,.0f} records/s")


@measures(EXPERIMENTS, "feed-four-memory", "feed-four-rate")
def four_consumers(w: Workspace):
    pod = Pod(w)
    source = pod.data("records", 114_660, 10_008, 8)
    reader = Path(__file__).with_name("feed_reader.py")
    with node(w, images=source) as n:
        def kaml(count: int) -> tuple[float, float]:
            command = [pod.consumer, "feed", n.feed, "images@main", "tfrecord", "32", "any", "4"]
            with pod.together(count, *command) as (answers, pids):
                memory = sum(proportional_set(pid)["Pss"] for pid in pids) + memory_of(n.agent.pid)["RssAnon"]
            return sum(per_second(answer, "records") for answer in answers), memory

        def tensorflow(count: int) -> float:
            command = [pod.python, reader, "kaml", source, "--batch", "32", "--seconds", "6", "--dataset", "images@main",
                       "--socket", n.feed]
            with pod.together(count, *command) as (answers, _):
                return sum(per_second(answer, "records") for answer in answers)

        def files(count: int) -> float:
            with pod.together(count, pod.python, reader, "tfrecord", source, "--batch", "32", "--seconds", "6") as (answers, _):
                return sum(per_second(answer, "records") for answer in answers)

        one, four = kaml(1), kaml(4)
        yield Result("feed-four-memory", four[1] / one[1], f"{four[1] / MIB:.0f} MiB, the agent's own and all PSS; C consumers",
                     f"{one[1] / MIB:.0f} MiB with one consumer")
        ours, theirs = tensorflow(4), files(4)
        yield Result("feed-four-rate", ours / theirs, f"{ours:,.0f} records/s in TensorFlow", f"{theirs:,.0f} records/s")


@measures(EXPERIMENTS, "feed-first")
def first_batch(w: Workspace):
    pod = Pod(w)
    count = w.scaled(10_000_000)
    source = pod.data("records", 16, count, 8)
    with node(w, many=source) as n:
        pod.consume("feed", n.feed, "many@main", "tfrecord", 256, "any", 0.1)
        times = [pod.consume("feed", n.feed, "many@main", "tfrecord", 256, "any", 0.1)["first"] for _ in range(w.rounds)]
        yield Result("feed-first", min(times) * 1000, f"{min(times) * 1000:.1f} ms, {count:,} TFRecords, index there")


@measures(EXPERIMENTS, "feed-resume", "feed-resume-wrong")
def resume(w: Workspace):
    pod = Pod(w)
    count = 100_003
    source = pod.data("records", 1024, count, 4)
    with node(w, small=source) as n:
        whole = pod.consume("epoch", n.feed, "small@main", 64, 1 << 40)["numbers"]
        times, wrong = [], 0
        for stop in (1, 17, 700, 1561):
            before = pod.consume("epoch", n.feed, "small@main", 64, stop)
            after = pod.consume("epoch", n.feed, "small@main", 64, 1 << 40, before["token"])
            times.append(after["first"])
            wrong += before["numbers"] + after["numbers"] != whole
        wrong += sorted(whole) != list(range(count))
    yield Result("feed-resume", max(times) * 1000, f"{max(times) * 1000:.1f} ms, from connecting to the first batch")
    yield Result("feed-resume-wrong", wrong, f"{wrong} of {len(times) + 1} comparisons of {count:,} records failed")
