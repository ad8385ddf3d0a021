"""GROUP=agent, what telling costs: reads with traces, logs and scrapes against the same without them."""
import shutil
import statistics
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from agent_node import Node
from experiment import Experiment, Result, measures
from measure import alternate
from workspace import Workspace

EXPERIMENTS: list[Experiment] = []
ROUNDS = 7
FILES, FILE_BYTES = 512, 1 << 20


class _Collector(BaseHTTPRequestHandler):
    """Takes every request of OTLP/HTTP: an empty body is an ExportTraceServiceResponse."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_) -> None:
        pass


class _Observed(Node):
    """A node that is scraped every second."""

    def __enter__(self) -> "_Observed":
        super().__enter__()
        self.ends = threading.Event()
        self.scraper = threading.Thread(target=self._scrape, daemon=True)
        self.scraper.start()
        return self

    def _scrape(self) -> None:
        while not self.ends.wait(1):
            self.get("/metrics")

    def __exit__(self, *what) -> None:
        self.ends.set()
        self.scraper.join()
        super().__exit__(*what)


def _read(point: Path) -> float:
    start = time.monotonic()
    for path in sorted(point.iterdir()):
        with open(path, "rb", buffering=0) as file:
            while file.read(1 << 20):
                pass
    return time.monotonic() - start


def _rounds(w: Workspace, warm: bool) -> tuple[list[float], list[float]]:
    """Seconds of each round: observed, and not. A fresh agent each time; `warm`: its cache is filled before."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    collector = f"http://127.0.0.1:{server.server_port}"
    source, store = w.disk / "told", w.kaml.new_store(w.disk / "told-store")
    source.mkdir()
    with open("/dev/urandom", "rb") as random:
        for number in range(w.scaled(FILES, 64)):
            (source / f"f{number:04}").write_bytes(random.read(FILE_BYTES))
    w.kaml.commit(store, source)

    def once(node: Node) -> float:
        with node:
            node.start_agent()
            node.wait_until_ready()
            if warm:
                # Another mount has pages of its own: the kernel asks again for everything.
                _read(node.mount(store, "bench", "before", "--profile", "small"))
            return _read(node.mount(store, "bench", "measured", "--profile", "small"))

    def observed() -> float:
        return once(_Observed(
            w, "--tracing-endpoint", collector, "--tracing-sample-ratio", "0.01", "--log-level", "info"))

    def silent() -> float:
        return once(Node(w, "--log-level", "critical"))

    try:
        once(Node(w))
        told, untold = alternate(w.scaled(ROUNDS, 3), observed, silent)
        return told, untold
    finally:
        server.shutdown()
        server.server_close()
        shutil.rmtree(source)
        subprocess.run(["rm", "-rf", str(store)], check=True)


def _result(key: str, told: list[float], untold: list[float], count: int) -> Result:
    def rate(seconds: float) -> str:
        return f"{count * FILE_BYTES / seconds / 1e6:,.0f} MB/s"

    fast, reference = statistics.median(told), statistics.median(untold)
    return Result(key, reference / fast, f"{rate(fast)} observed", f"{rate(reference)} without")


@measures(EXPERIMENTS, "agent-told-warm")
def cached_reads(w: Workspace):
    yield _result("agent-told-warm", *_rounds(w, warm=True), w.scaled(FILES, 64))


@measures(EXPERIMENTS, "agent-told-cold")
def cold_reads(w: Workspace):
    yield _result("agent-told-cold", *_rounds(w, warm=False), w.scaled(FILES, 64))
