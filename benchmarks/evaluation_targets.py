"""What was asked of the shipped model on the test split, and what results/evaluate.json says it reached."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sections import met

from cyclicxr.evaluate.paper import printed
from cyclicxr.evaluate.verdicts import CONSTANT, DRAWN, DRAWN_SHUFFLED, NAMED, OURS, RECONSTRUCTED, SHUFFLED

JOINED = "with the global alignment"
NEAREST = "report of the nearest training film"
METEOR = 0.19  # the paper's .1621 is less than a constant report's
CLINICAL = "finding macro F1"


def evaluation_targets(found: dict[str, Any] | None) -> Iterator[list[str]]:
    """Asked for, reached, met; rows without a measurement are left out."""
    metrics = found["metrics"] if found else {}
    yield from _reports(metrics.get("report", {}))
    for how, ways in ((JOINED, metrics.get(f"retrieval, {JOINED}", {})), ("MaxSim alone", metrics.get("retrieval", {}))):
        for way, numbers in ways.items():
            reached = numbers["R@10"]["value"]
            times = reached / numbers["chance@10"]["value"]
            yield [f"{way}, {how}: R@10 at least 4 x chance", f"{times:.1f} x", met(times >= 4)]
            if how == JOINED:
                yield [f"{way}, {how}: R@10 at least 15 %", f"{reached:.1%}", met(reached >= 0.15)]
    yield from _drawings(metrics.get("draw", {}))


def _reports(report: dict[str, Any]) -> Iterator[list[str]]:
    ours = report.get(OURS, {})
    for metric in ("BLEU-4", "ROUGE-L") if CONSTANT in report else ():
        yield _above(f"reports: {metric} above the best constant", ours[metric], report[CONSTANT][metric])
    for metric, number in _printed().items():
        if metric in ours and metric != "METEOR":
            yield _at_least(f"reports: {metric} at least the paper's on OpenI, {number}", ours[metric]["value"], number)
    if "METEOR" in ours:
        yield _at_least(f"reports: METEOR at least {METEOR}", ours["METEOR"]["value"], METEOR)
    nearest = [row[CLINICAL]["value"] for name, row in report.items() if name.startswith(NEAREST)]
    if nearest:
        times = ours[CLINICAL]["value"] / max(nearest)
        yield [f"reports: {CLINICAL} at least 1.5 x that of the nearest training film's report", f"{times:.2f} x", met(times >= 1.5)]
    if ours:
        share = ours["distinct outputs"]["value"]
        yield ["reports: at least 30 % distinct", f"{share:.0%}", met(share >= 0.3)]
    if NAMED in report.get(SHUFFLED, {}):
        asked = "reports: right finding named on abnormal films, above the same reports shuffled"
        yield _above(asked, ours[NAMED], report[SHUFFLED][NAMED])


def _printed() -> dict[str, float]:
    """The paper's own row of Table 1 on OpenI, zero-shot there."""
    table = printed()["tables"]["table1"]
    return dict(zip(table["metrics"], map(float, table["rows"]["AdaMatch-Cyclic"][-len(table["metrics"]) :]), strict=True))


def _drawings(draw: dict[str, Any]) -> Iterator[list[str]]:
    drawn = draw.get(DRAWN, {})
    if "finding AUC" in drawn:
        asked = "drawn films show what was asked: finding AUC above that of shuffled films"
        yield _above(asked, drawn["finding AUC"], draw[DRAWN_SHUFFLED]["finding AUC"])
    if "FID" in drawn:
        times = drawn["FID"]["value"] / draw[RECONSTRUCTED]["FID"]["value"]
        yield ["drawn films: FID at most 2 x that of the VQ-GAN's reconstructions", f"{times:.1f} x", met(times <= 2)]


def _at_least(asked: str, reached: float, least: float) -> list[str]:
    return [asked, f"{reached:.3f}", met(reached >= least)]


def _above(asked: str, ours: dict[str, Any], other: dict[str, Any]) -> list[str]:
    return [asked, f"{ours['value']:.3f} against {other['value']:.3f}", met(ours["value"] > other["value"])]
