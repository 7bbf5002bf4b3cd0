"""Numbers -> Markdown and HTML tables; knows nothing of how a number came about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

Numbers = Mapping[str, Mapping[str, Mapping[str, Any]]]  # row -> metric -> {"value", "low", "high", "n"}

_COUNTS = ("pool", "empty outputs", "median rank")
_STYLE = """body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 78rem; padding: 0 1rem; color: #1c2430; }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #d8dee6; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } td span { color: #68778a; font-size: .85em; } .wide { overflow-x: auto; }"""


def markdown_table(rows: Numbers, corner: str = "") -> str:
    """One table, a row a system (or direction), a column a metric; `0.123 [0.101, 0.145]` is a value with its 95 % interval."""
    metrics = columns(rows)
    lines = [[corner, *metrics], ["---", *["---:"] * len(metrics)]]
    lines += [[row, *(_cell(found.get(metric), metric) for metric in metrics)] for row, found in rows.items()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def markdown_page(metrics: Mapping[str, Any]) -> str:
    """The whole of `metrics.json` as Markdown."""
    parts = [f"# {title(metrics)}\n", *(f"- {line}" for line in metrics["about"]["protocol"]), ""]
    for task, rows in tables(metrics):
        parts += [f"## {task}\n", markdown_table(rows)]
    return "\n".join(parts)


def html_page(metrics: Mapping[str, Any]) -> str:
    """The whole of `metrics.json` as one self-contained page."""
    heading = escape(title(metrics))
    protocol = "".join(f"<li>{escape(line)}</li>" for line in metrics["about"]["protocol"])
    body = "".join(f'<h2>{escape(task)}</h2><div class="wide">{_html_table(rows)}</div>' for task, rows in tables(metrics))
    head = f'<meta charset="utf-8"><title>{heading}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body><h1>{heading}</h1><ul>{protocol}</ul>{body}</body></html>\n'


def tables(metrics: Mapping[str, Any]) -> Iterator[tuple[str, Numbers]]:
    """The tasks of `metrics.json` that hold numbers, in order."""
    for task, rows in metrics.items():
        if task != "about" and rows:
            yield task, rows


def title(metrics: Mapping[str, Any]) -> str:
    """What was evaluated on what."""
    about = metrics["about"]
    model = " ".join(str(part) for part in about["model"].values())
    return f"{model} on {about['n']} films of '{about['split']}'"


def columns(rows: Numbers) -> list[str]:
    """Every metric that some row has, in order of first occurrence."""
    return list(dict.fromkeys(metric for found in rows.values() for metric in found))


def _cell(number: Mapping[str, Any] | None, metric: str) -> str:
    if number is None:
        return "–"
    value = _number(number["value"], metric)
    return value if number["low"] is None else f"{value} [{_number(number['low'], metric)}, {_number(number['high'], metric)}]"


def _number(value: float, metric: str) -> str:
    if metric in _COUNTS:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 or "/ chance" in metric else f"{value:.3f}"


def _html_table(rows: Numbers) -> str:
    metrics = columns(rows)
    head = "".join(f"<th>{escape(metric)}</th>" for metric in ("", *metrics))
    lines = []
    for row, found in rows.items():
        cells = [_cell(found.get(metric), metric).split(" ", 1) for metric in metrics]
        filled = "".join(f"<td>{cell[0]}" + (f" <span>{cell[1]}</span>" if len(cell) > 1 else "") + "</td>" for cell in cells)
        lines.append(f"<tr><td>{escape(row)}</td>{filled}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
