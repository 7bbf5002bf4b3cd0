"""The tables of results/peers.json for BENCHMARKS.md; knows no model, so that the page is written without one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

KS = ("R@1", "R@5", "R@10")
TITLES = {
    "4": "Table 4: AdaMatch and its peers",
    "5": "Table 5: with and without AdaPatch",
    "6": "Table 6: whose patches are matched",
    "identical": "Identical reports of a batch as negatives (the paper) or left out",
    "start": "A matcher that starts anywhere, or in the reports' space",
    "words": "Pre-trained on findings, or on the reports' words too",
    "sentences": "Whole reports or some of their sentences",
    "warm": "A text encoder from scratch or from a sentence encoder",
}


class Shown(NamedTuple):
    """A table as text."""

    title: str
    header: list[str]
    rows: list[list[str]]


def shown(found: dict[str, Any]) -> Iterator[Shown]:
    """Each table in each pool, what AdaMatch has more than each other row, and the sweep; a row that was not run is said to be so."""
    rows = found["rows"]
    pools = list(dict.fromkeys(pool for row in rows.values() for pool in row.get("scores", {})))
    for table, names in found["tables"].items():
        for pool in pools:
            yield _table(f"{TITLES[table]} ({pool})", [rows[name] for name in names], pool)
    differences = [row for row in rows.values() if "AdaMatch less this" in row]
    if differences:
        yield Shown(
            "R@10 of AdaMatch less each other row's (whole split, per cent)",
            ["", *_ways(differences[0]["AdaMatch less this"], ("R@10",))],
            [[row["label"], *(_interval(of["R@10"]) for of in row["AdaMatch less this"].values())] for row in differences],
        )
    if found["sweep"]:
        yield _sweep(found["sweep"], rows)


def about(found: dict[str, Any]) -> str:
    """What all rows share, and what they are scored on."""
    numbers = ", ".join(f"{name} {value}" for name, value in found["numbers"].items())
    run = [row for row in found["rows"].values() if row["seeds"]]
    sizes = {f"{row['films']} films and {row['texts']} distinct reports" for row in run}
    trained = [
        f"Trained on {device}: {'; '.join(row['label'] for row in run if device in row['devices'])}."
        for device in sorted({device for row in run for device in row["devices"]})
    ]
    return (
        f"The same data, epochs and optimiser for all ({numbers}), and the same encoders but for what a row's name says. "
        f"{' '.join(sizes) or 'Nothing yet'} of the test split; per cent, mean ± standard deviation over the seeds; decision 37. "
        f"{' '.join(trained)}"
    )


def targets(found: dict[str, Any] | None) -> Iterator[tuple[str, str, bool]]:
    """What was asked for, what was reached, and whether that is enough; nothing until all rows of Table 4 were run."""
    rows = [found["rows"][name] for name in found["tables"]["4"]] if found else []
    if rows and all(row["seeds"] for row in rows):
        for way in rows[0]["scores"]["whole split"]:
            ours, *others = (float(row["scores"]["whole split"][way]["R@10"]["mean"]) for row in rows)
            yield f"{way}, AdaMatch by the peers' training: R@10 at least 15 %", f"{ours:.1%}", ours >= 0.15
            yield f"{way}: R@10 of AdaMatch above every peer's", f"{ours:.1%} against {max(others):.1%}", ours > max(others)


def _table(title: str, rows: list[dict[str, Any]], pool: str) -> Shown:
    run = [row for row in rows if pool in row.get("scores", {})]
    if not run:
        return Shown(title, ["", "seeds"], [[row["label"], "not run yet"] for row in rows])
    ways = run[0]["scores"][pool]
    lines = [[row["label"], _seeds(row), *_cells(row.get("scores", {}).get(pool), ways)] for row in rows]
    chance = [_per_cent(of[k.replace("R@", "chance@")]["mean"]) for of in ways.values() for k in KS]
    return Shown(title, ["", "seeds", *_ways(ways, KS)], [*lines, ["chance", "", *chance]])


def _cells(scores: dict[str, Any] | None, ways: dict[str, Any]) -> list[str]:
    if scores is None:
        return ["–"] * len(ways) * len(KS)
    return [
        _per_cent(of[k]["mean"]) + ("" if of[k]["sd"] is None else f" ± {_per_cent(of[k]['sd'])}") for of in scores.values() for k in KS
    ]


def _sweep(points: list[dict[str, Any]], rows: dict[str, Any]) -> Shown:
    lines = []
    for point in points:
        changed = ", ".join(f"{setting} {value}" for setting, value in point["changed"].items()) or "as in the tables"
        lines.append([rows[point["row"]]["label"], changed, point["device"], *(_per_cent(of["R@10"]) for of in point["scores"].values())])
    header = ["", "changed", "trained on", *points[0]["scores"]]
    return Shown("One number changed (validation split, seed 0, R@10 in per cent)", header, lines)


def _seeds(row: dict[str, Any]) -> str:
    return str(len(row["seeds"])) if row["seeds"] else "not run yet"


def _ways(ways: dict[str, Any], metrics: tuple[str, ...]) -> list[str]:
    return [f"{way} {metric}" for way in ways for metric in metrics]


def _interval(number: dict[str, Any]) -> str:
    return f"{_per_cent(number['value'])} [{_per_cent(number['low'])}, {_per_cent(number['high'])}]"


def _per_cent(value: float) -> str:
    return f"{100 * value:.1f}"
