"""Prints the rows as a table that fits a terminal and a closing note."""
from experiment import Row


def print_table(rows: list[Row]) -> None:
    lines = [("what", "value", "goal", "", "measured", "against")]
    for row in rows:
        goal = row.goal
        value = "not measured" if row.value is None else f"{_number(row.value)} {goal.unit}"
        against = goal.against + (f": {row.reference}" if row.reference else "")
        measured = row.measured if row.value is not None else row.why_not.splitlines()[0][:80]
        target = f"{goal.op} {_number(goal.goal)}"
        lines.append((goal.name, value, target, "ok" if row.ok else "MISSED", measured, against))
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    for index, line in enumerate(lines):
        cells = [cell.ljust(width) for cell, width in zip(line, widths)] + [line[5]]
        print("| " + " | ".join(cells) + " |")
        if index == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|---|")
    missed = sum(not row.ok for row in rows)
    print(f"\n{len(rows) - missed} of {len(rows)} goals met")


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
