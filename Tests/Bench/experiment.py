"""An experiment measures one or more goals; what it does not yield is reported as not measured, never invented."""
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from goals import GOALS, Goal


@dataclass
class Result:
    """What an experiment yields: the value compared with the goal, and both raw measurements in words."""

    key: str
    value: float
    measured: str
    reference: str = ""
    # More for the JSON, such as the table that the value sums up.
    details: list | None = None


@dataclass
class Row:
    goal: Goal
    value: float | None = None
    measured: str = ""
    reference: str = ""
    why_not: str = ""
    details: list | None = None

    @property
    def ok(self) -> bool:
        return self.value is not None and self.goal.met_by(self.value)

    def as_json(self) -> dict:
        against = self.goal.against + (f": {self.reference}" if self.reference else "")
        row = {
            "group": self.goal.group, "name": self.goal.name, "value": self.value, "unit": self.goal.unit,
            "op": self.goal.op, "goal": self.goal.goal, "ok": self.ok, "against": against, "measured": self.measured,
        }
        row |= {"details": self.details} if self.details else {}
        return row | ({"notMeasured": self.why_not} if self.value is None else {})


@dataclass
class Experiment:
    keys: tuple[str, ...]
    measure: Callable[..., Iterator[Result]] = field(repr=False)

    def wanted(self, only: str) -> bool:
        return any(only in key or only in GOALS[key].name for key in self.keys)


def measures(experiments: list[Experiment], *keys: str):
    """Registers a generator of results as the experiment for these goals."""

    def register(function):
        experiments.append(Experiment(keys, function))
        return function

    return register


def run_all(experiments: list[Experiment], workspace, only: str) -> list[Row]:
    rows: list[Row] = []
    for experiment in experiments:
        if experiment.wanted(only):
            rows += _run(experiment, workspace)
    order = list(GOALS)
    return sorted(rows, key=lambda row: order.index(row.goal.key))


def _run(experiment: Experiment, workspace) -> list[Row]:
    rows = {key: Row(GOALS[key], why_not="the experiment gave no value") for key in experiment.keys}
    print(f"-- {', '.join(experiment.keys)}", file=sys.stderr, flush=True)
    start = time.monotonic()
    try:
        with workspace.scratch():
            for result in experiment.measure(workspace):
                rows[result.key] = Row(GOALS[result.key], result.value, result.measured, result.reference,
                                       details=result.details)
    except Exception as error:  # one failed experiment must not hide the others' figures
        print(f"   failed: {error}", file=sys.stderr)
        for row in rows.values():
            row.why_not = f"{type(error).__name__}: {error}"
    for row in rows.values():
        shown = "not measured: " + row.why_not if row.value is None else f"{row.value:.3g} {row.goal.unit}"
        print(f"   {row.goal.key}: {shown}; {row.measured} | {row.reference}", file=sys.stderr)
    print(f"   ({time.monotonic() - start:.0f} s)", file=sys.stderr, flush=True)
    return list(rows.values())
