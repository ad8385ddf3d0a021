#!/usr/bin/env python3
"""What a node's metrics, spans and logs are sent to, for tests: observers.py prometheus|collector|shipper.

Each does one job and prints one line of JSON:

  prometheus TARGET EXPRESSION...  Debian's Prometheus scrapes http://TARGET/metrics and answers the expressions
  collector                        an OTLP receiver from PyPI: prints its ports, then for each line on its standard input
                                   the spans that it got; ends when that closes
  shipper FILE MESSAGES            Debian's rsyslog reads FILE, parses each line as JSON and writes what it understood;
                                   waits for so many of them
"""
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

from processes import Failure, Processes, free_ports, is_listening, need

# Beside the build, so that it is made once a checkout.
_VENV = Path(__file__).resolve().parents[2] / ".build" / "test-servers" / "observers"
_REQUIREMENTS = ("ddapm-test-agent>=1.60,<2",)


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    jobs = {"prometheus": prometheus, "collector": collector, "shipper": shipper}
    if len(sys.argv) < 2 or sys.argv[1] not in jobs:
        print(__doc__, file=sys.stderr)
        return 2
    directory = Path(tempfile.mkdtemp(prefix=f"kaml-{sys.argv[1]}-"))
    processes = Processes(directory)
    try:
        jobs[sys.argv[1]](directory, processes, *sys.argv[2:])
        return 0
    except Failure as failure:
        print(f"{sys.argv[1]}: {failure}", file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        processes.stop()
        shutil.rmtree(directory, ignore_errors=True)


def prometheus(directory: Path, processes: Processes, target: str, *expressions: str) -> None:
    port, = free_ports(1)
    configuration = directory / "prometheus.yml"
    # JSON is YAML.
    configuration.write_text(json.dumps({
        "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms"},
        "scrape_configs": [{"job_name": "kamld", "static_configs": [{"targets": [target]}]}],
    }))
    processes.start("prometheus", need("prometheus", "prometheus"), f"--config.file={configuration}",
                    f"--storage.tsdb.path={directory / 'data'}", f"--web.listen-address=127.0.0.1:{port}",
                    "--enable-feature=exemplar-storage")
    base = f"http://127.0.0.1:{port}/api/v1"

    def query(expression: str) -> list:
        answer = get(f"{base}/query?{urllib.parse.urlencode({'query': expression})}")
        return [{"labels": row["metric"], "value": row["value"][1]} for row in answer["data"]["result"]]

    processes.wait_for("prometheus", "Prometheus", lambda: is_listening(port))
    processes.wait_for("prometheus", "the scrape", lambda: [row["value"] for row in query("up")] == ["1"])
    # Rates need a second one.
    time.sleep(1)
    targets = get(f"{base}/targets")["data"]["activeTargets"]
    exemplars = get(f"{base}/query_exemplars?" + urllib.parse.urlencode(
        {"query": "kaml_read_duration_seconds_bucket", "start": time.time() - 3600, "end": time.time() + 3600}))
    say({
        "answers": {expression: query(expression) for expression in expressions},
        "lastError": targets[0]["lastError"],
        "traces": sorted({each["labels"].get("trace_id") for row in exemplars["data"] for each in row["exemplars"]}),
    })


def collector(directory: Path, processes: Processes) -> None:
    agent, http, grpc, web = free_ports(4)
    processes.start("agent", agent_program(), "--host", "127.0.0.1", "--port", str(agent), "--otlp-http-port", str(http),
                    "--otlp-grpc-port", str(grpc), "--web-ui-port", "0")
    processes.wait_for("agent", "the OTLP receiver", lambda: is_listening(http) and is_listening(grpc))
    say({"http": http, "grpc": grpc, "pid": processes.running["agent"].pid})
    for _ in sys.stdin:
        spans = []
        for request in get(f"http://127.0.0.1:{http}/test/session/traces"):
            for resource in request.get("resource_spans", []):
                described = attributes(resource.get("resource", {}))
                for scope in resource.get("scope_spans", []):
                    spans += [span | {"attributes": attributes(span), "resource": described}
                              for span in scope.get("spans", [])]
        say(spans)


def attributes(described: dict) -> dict:
    return {each["key"]: next(iter(each["value"].values()), None) for each in described.get("attributes", [])}


def agent_program() -> Path:
    program = _VENV / "bin" / "ddapm-test-agent"
    if not program.exists():
        print(f"making {_VENV} with ddapm-test-agent", file=sys.stderr, flush=True)
        for command in ([sys.executable, "-m", "venv", _VENV], [_VENV / "bin/pip", "-q", "install", *_REQUIREMENTS]):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise Failure(f"cannot install ddapm-test-agent: {done.stderr.strip()[-300:]}")
    return program


def shipper(directory: Path, processes: Processes, log: str, messages: str) -> None:
    shipped = directory / "shipped"
    configuration = directory / "rsyslog.conf"
    configuration.write_text(f"""
global(workDirectory="{directory}" maxMessageSize="256k")
module(load="imfile")
module(load="mmjsonparse")
input(type="imfile" file="{log}" tag="kamld:" ruleset="ship")
template(name="understood" type="list") {{
  property(name="$!all-json") constant(value="\\n")
}}
ruleset(name="ship") {{
  action(type="mmjsonparse" cookie="")
  if $parsesuccess == "OK" then action(type="omfile" file="{shipped}" template="understood")
  else action(type="omfile" file="{directory}/refused")
}}
""")
    processes.start("rsyslog", need("rsyslogd", "rsyslog"), "-n", "-f", configuration, "-i", directory / "pid")

    def lines(path: Path) -> list[str]:
        return path.read_text().splitlines() if path.exists() else []

    processes.wait_for("rsyslog", "rsyslog", lambda: len(lines(shipped)) + len(lines(directory / "refused")) >= int(messages))
    say({"shipped": [json.loads(line) for line in lines(shipped)], "refused": lines(directory / "refused")})


def get(url: str):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def say(what) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    sys.exit(main())
