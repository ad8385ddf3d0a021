#!/usr/bin/env python3
"""Makes the Swift declarations and the README's table from the catalogue of metrics.

`metrics.py` writes both (the table only between its markers in README.md), `--check` says whether they are what it would
write, `--table` prints the table.
"""
import re
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
CATALOGUE = ROOT / "Sources/Ground/Telemetry/metrics.yaml"
SWIFT = ROOT / "Sources/Ground/Telemetry/Generated/MetricCatalogue.swift"
README = ROOT / "README.md"
BEGIN, END = "<!-- metrics: begin (make metrics) -->", "<!-- metrics: end -->"

TYPES = {"counter": "Counter", "gauge": "Gauge", "histogram": "Histogram", "info": "Gauge"}
UNITS = {None: "none", "seconds": "seconds", "bytes": "bytes"}
MOST_SERIES = 100


class Mistake(Exception):
    pass


def camel(text: str, upper: bool = False) -> str:
    words = text.split("_")
    head = words[0].capitalize() if upper else words[0]
    return head + "".join(word.capitalize() for word in words[1:])


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def load() -> tuple[dict, list]:
    document = yaml.safe_load(CATALOGUE.read_text())
    labels, metrics = document["labels"], document["metrics"]
    for key, label in labels.items():
        if ("values" in label) == ("texts" in label) or ("texts" in label) != ("cap" in label):
            raise Mistake(f"the label {key} needs values, or texts and cap")
        for word in [key, *label.get("values", label.get("texts"))]:
            if not re.fullmatch(r"[a-z][a-z0-9_]*", word):
                raise Mistake(f"{word!r} in the label {key} is no word")
    seen = set()
    for metric in metrics:
        check(metric, labels, seen)
    return labels, metrics


def check(metric: dict, labels: dict, seen: set) -> None:
    name, kind, unit = metric["name"], metric["type"], metric.get("unit")
    unknown = set(metric) - {"name", "type", "unit", "labels", "help", "since", "library"}
    rules = [
        (unknown, f"unknown keys {unknown}"),
        (name in seen, "listed twice"),
        (not re.fullmatch(r"(kaml|process)(_[a-z0-9]+)+", name), "bad name"),
        (kind not in TYPES, f"unknown type {kind}"),
        (unit not in UNITS, f"unknown unit {unit}"),
        ((kind == "counter") != name.endswith("_total"), "counters, and only they, end in _total"),
        ((kind == "info") != name.endswith("_info"), "info metrics, and only they, end in _info"),
        (unit and f"_{unit}" not in name, f"the name does not say {unit}"),
        (kind == "histogram" and unit != "seconds", "histograms have buckets of seconds only"),
        (not metric["help"].endswith("."), "the help is no sentence"),
        (not metric.get("since"), "since is missing"),
        ("library" in metric and metric.get("labels"), "metrics of libraries have no labels"),
    ]
    for broken, why in rules:
        if broken:
            raise Mistake(f"{name}: {why}")
    seen.add(name)
    used = metric.get("labels", [])
    capped = [key for key in used if "texts" in labels[key]]
    if capped and (len(used) > 1 or kind == "histogram"):
        raise Mistake(f"{name}: a capped label stands alone, and in no histogram")
    series = 1
    for key in used:
        series *= len(labels[key].get("values", [0]))
    if series > MOST_SERIES:
        raise Mistake(f"{name}: {series} sets of labels")


def swift(labels: dict, metrics: list) -> str:
    out = [
        "// Made by `make metrics` from metrics.yaml; not to be edited.",
        "",
    ]
    for key, label in labels.items():
        if "texts" in label:
            continue
        cases = ", ".join(f"`{camel(v)}`" if v == "init" else camel(v) for v in label["values"])
        out += [
            f"package enum {camel(key, True)}Label: Int, CaseIterable, MetricLabel {{",
            f"    case {cases}",
            f"    package static let descriptor = LabelDescriptor("
            f"{quoted(label.get('label', key))}, [{', '.join(map(quoted, label['values']))}])",
            "}",
            "",
        ]
    out += ["/// Every metric there is.", "package enum MetricCatalogue {"]
    for index, metric in enumerate(metrics):
        used = metric.get("labels", [])
        kind = TYPES[metric["type"]]
        capped = used and "texts" in labels[used[0]]
        if capped:
            generic = f"Capped{kind}Metric"
        else:
            parameter = {0: "NoLabels", 1: f"{camel(used[0], True)}Label" if used else "", 2: ""}[len(used)]
            if len(used) == 2:
                parameter = f"LabelPair<{camel(used[0], True)}Label, {camel(used[1], True)}Label>"
            generic = f"{kind}Metric<{parameter}>"
        out += [
            f"    /// {metric['help']}",
            f"    package static let {identifier(metric)} = {generic}(all[{index}])",
        ]
    out += ["", "    package static let all: [MetricDescriptor] = ["]
    for index, metric in enumerate(metrics):
        used = metric.get("labels", [])
        capped = used and "texts" in labels[used[0]]
        if capped:
            label = labels[used[0]]
            described = f"[{', '.join(f'LabelDescriptor({quoted(t)}, [])' for t in label['texts'])}], cap: {label['cap']}"
        else:
            described = f"[{', '.join(f'{camel(k, True)}Label.descriptor' for k in used)}]"
        out += [
            f"        MetricDescriptor(",
            f"            {index}, {quoted(metric['name'])}, .{metric['type']}, .{UNITS[metric.get('unit')]}, {described},",
            f"            help: {quoted(metric['help'])}),",
        ]
    out += ["    ]", "", "    /// What libraries report through swift-metrics, by their names for it."]
    for kind in ("Counter", "Gauge", "Histogram"):
        entries = [
            f"        {quoted(m['library'])}: {identifier(m)},"
            for m in metrics if "library" in m and TYPES[m["type"]] == kind
        ]
        out += [f"    package static let library{kind}s: [String: {kind}Metric<NoLabels>] = ["] + (entries or []) + ["    ]"]
    out += ["}", ""]
    return "\n".join(out)


def identifier(metric: dict) -> str:
    return camel(metric["name"].removeprefix("kaml_").removesuffix("_total"))


def table(labels: dict, metrics: list) -> str:
    rows = ["| metric | type | labels | what it says |", "|---|---|---|---|"]
    for metric in metrics:
        said = []
        for key in metric.get("labels", []):
            label = labels[key]
            if "texts" in label:
                said.append(f"{', '.join(label['texts'])} (at most {label['cap']})")
            else:
                said.append(f"{label.get('label', key)}: {', '.join(label['values'])}")
        rows.append(f"| `{metric['name']}` | {metric['type']} | {'; '.join(said)} | {metric['help']} |")
    return "\n".join(rows)


def with_table(readme: str, new: str) -> str:
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{new}\n{END}{after}"


def formatted(source: str) -> str:
    """As the project's formatter would have it, so that lint and check agree."""
    import subprocess
    return subprocess.run(
        [ROOT / ".ci/swift.sh", "format", "--configuration", ROOT / ".swift-format"], input=source, text=True,
        capture_output=True, check=True).stdout


def main(arguments: list[str]) -> int:
    labels, metrics = load()
    declared, shown = swift(labels, metrics), table(labels, metrics)
    if arguments == ["--table"]:
        print(f"{BEGIN}\n{shown}\n{END}")
        return 0
    declared = formatted(declared)
    readme = README.read_text()
    wanted = with_table(readme, shown) if BEGIN in readme else readme
    if arguments == ["--check"]:
        stale = [str(path.relative_to(ROOT)) for path, text in ((SWIFT, declared), (README, wanted))
                 if not path.exists() or path.read_text() != text]
        if stale:
            print(f"not what the catalogue says: {', '.join(stale)}; run `make metrics`", file=sys.stderr)
        return 1 if stale else 0
    if arguments:
        print(__doc__, file=sys.stderr)
        return 2
    SWIFT.parent.mkdir(exist_ok=True)
    SWIFT.write_text(declared)
    if wanted != readme:
        README.write_text(wanted)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (Mistake, KeyError) as mistake:
        print(f"{CATALOGUE.name}: {mistake}", file=sys.stderr)
        sys.exit(1)
