#!/usr/bin/env python3
"""The bench harness: measures kaml and its peers side by side, as ratios against the goals in goals.py.

Prints a table and writes .build/bench.json. Exit status is 0 even when a goal is missed: a figure is a finding, not a
failure; --strict turns a missed goal into exit status 1.
"""
import argparse
import json
import os
import signal
import sys

import agent_group
import faults_group
import feed_group
import mount_group
import s3_group
import store_group
from experiment import run_all
from goals import GOALS
from table import print_table
from workspace import ROOT, Workspace

GROUPS = {"store": store_group.EXPERIMENTS, "mount": mount_group.EXPERIMENTS, "s3": s3_group.EXPERIMENTS,
          "faults": faults_group.EXPERIMENTS, "agent": agent_group.EXPERIMENTS,
          "feed": feed_group.EXPERIMENTS}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--group", choices=sorted(GROUPS), help="only this group")
    parser.add_argument("--only", default="", help="only experiments with a goal whose key or name contains this")
    parser.add_argument("--rounds", type=int, default=3, help="best of this many alternating rounds")
    parser.add_argument("--scale", type=float, default=float(os.environ.get("KAML_BENCH_SCALE", "1")),
                        help="part of the S3 group's data to use, to try the bench itself; also KAML_BENCH_SCALE")
    parser.add_argument("--strict", action="store_true", help="exit 1 when a goal is missed")
    parser.add_argument("--list", action="store_true", help="list the goals and stop")
    options = parser.parse_args()

    if options.list:
        for goal in GOALS.values():
            print(f"{goal.group:6} {goal.key:28} {goal.name} {goal.op} {goal.goal} {goal.unit}")
        return 0

    # Ended by a signal, the run still unmounts and removes what it made.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    groups = [options.group] if options.group else list(GROUPS)
    with Workspace(options.rounds, options.scale) as workspace:
        rows = [row for group in groups for row in run_all(GROUPS[group], workspace, options.only)]

    if not rows:
        parser.error(f"no goal has {options.only!r} in its key or name; --list shows all")
    print_table(rows)
    output = ROOT / ".build" / "bench.json"
    output.parent.mkdir(exist_ok=True)
    output.write_text(json.dumps([row.as_json() for row in rows], indent=2) + "\n")
    print(f"\nwritten to {output.relative_to(ROOT)}", file=sys.stderr)
    return 1 if options.strict and not all(row.ok for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
