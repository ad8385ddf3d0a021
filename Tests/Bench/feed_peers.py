"""The pod's side of the feed's experiments: libkaml and the Python package as they are in the tree, TensorFlow and its
peers from PyPI in an environment of their own."""
import contextlib
import json
import os
import subprocess
import sys
from functools import cached_property
from pathlib import Path

from measure import run
from workspace import ROOT, Workspace

POD = ROOT / "Sources" / "Pod"
PACKAGES = ["tensorflow-cpu==2.21.0", "webdataset", "ray==2.60.0", "google-crc32c"]


class Pod:
    """Programs that take records, each in a process of its own."""

    def __init__(self, w: Workspace):
        self.w = w
        self.build = ROOT / ".build" / "bench-pod"

    @cached_property
    def python(self) -> Path:
        home = self.w.data / "feed-venv"
        done = home / "installed"
        if not done.exists() or done.read_text() != " ".join(PACKAGES):
            print(f"   installing {', '.join(PACKAGES)}", file=sys.stderr, flush=True)
            run(sys.executable, "-m", "venv", home)
            run(home / "bin" / "pip", "-q", "install", *PACKAGES)
            done.write_text(" ".join(PACKAGES))
        return home / "bin" / "python"

    def data(self, kind: str, size: int, count: int, files: int) -> Path:
        """A directory with `count` records of `size` bytes: TFRecord files ("records") or tar files ("tars")."""
        script = Path(__file__).with_name("feed_data.py")
        said = run(self.python, script, kind, self.w.data, str(size), str(count), str(files)).output
        return Path(said.splitlines()[-1])

    @cached_property
    def package(self) -> Path:
        """Where `kaml` can be imported from."""
        run("make", "-C", POD / "python" / "native", "all")
        return POD / "python"

    @cached_property
    def consumer(self) -> Path:
        """feed_consumer.c with libkaml."""
        self.build.mkdir(parents=True, exist_ok=True)
        run("make", "-C", POD / "libkaml", f"BUILD={self.build}", "all")
        program = self.build / "feed_consumer"
        run("cc", "-std=gnu11", "-O2", f"-I{POD / 'libkaml' / 'include'}", "-o", program,
            Path(__file__).with_name("feed_consumer.c"), f"-L{self.build}", "-lkaml", "-Wl,-rpath,$ORIGIN")
        return program

    def consume(self, *words: object) -> dict:
        return json.loads(run(self.consumer, *map(str, words)).output.splitlines()[-1])

    def read(self, how: str, data: Path, *words: object) -> dict:
        """feed_reader.py to its end."""
        done = run(self.python, Path(__file__).with_name("feed_reader.py"), how, data, *map(str, words),
                   env={"PYTHONPATH": str(self.package), "TF_CPP_MIN_LOG_LEVEL": "3"})
        return json.loads(done.output.splitlines()[-1])

    @contextlib.contextmanager
    def together(self, count: int, *command: str | Path):
        """So many of one program at once; gives their answers and, while they wait, their pids."""
        processes = [subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      text=True, env=os.environ | {"FEED_CONSUMER_WAITS": "1",
                                                                   "PYTHONPATH": str(self.package),
                                                                   "TF_CPP_MIN_LOG_LEVEL": "3"})
                     for _ in range(count)]
        try:
            answers = [json.loads(process.stdout.readline()) for process in processes]
            yield answers, [process.pid for process in processes]
        finally:
            for process in processes:
                process.stdin.close()
                process.wait(30)


def proportional_set(pid: int) -> dict[str, int]:
    """Bytes of smaps_rollup(5): Pss, and of it anonymous memory, files and shared memory."""
    found = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, rest = line.partition(":")
        if name.startswith("Pss"):
            found[name] = int(rest.split()[0]) * 1024
    return found


def cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
