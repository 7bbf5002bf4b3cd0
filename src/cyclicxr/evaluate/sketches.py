"""Figures 5, 7 and 8: cases chosen by rank or by seed, as pictures of films, words and patches; knows no metric."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from cyclicxr.cycle import Outcome
from cyclicxr.evaluate.figures import OTHER_COLOURS, OURS_COLOUR, Plot, saved
from cyclicxr.evaluate.gallery import EACH, Explains, drawn_path, shown_drawings, shown_reports
from cyclicxr.evaluate.system import Case
from cyclicxr.explain.view import view_of
from cyclicxr.types import InputError, Result, WordRecord

WORDS = 6  # words of a text whose patches are shown
_COLOURS = (OURS_COLOUR, *OTHER_COLOURS, "#0a8f6c")
_WIDE = 52  # letters of a line of text
_ARROW: dict[str, Any] = {"arrowstyle": "->", "shrinkA": 0, "shrinkB": 0, "mutation_scale": 8}
_GLUE = 4  # letters that a shown word has at least


def report_sketch(out: Path, case: Case, model: object) -> Plot:
    """Reports beside the true ones with their keywords: one case of each kind, by rank.

    Source: Fig. 5.
    """
    shown = shown_reports(out, case, model, each=1)
    if not shown:
        raise InputError(f"{out}: no reports to show; run the task 'report' there")
    figure = Figure(figsize=(13, 3.4 * len(shown)), layout="constrained")
    rows = []
    for panels, found in zip(_rows(figure, len(shown), (1.0, 1.6, 1.6, 0.9)), shown, strict=True):
        film = case.cases.pixels[[study.id for study in case.cases.studies].index(found.id)].numpy()
        _film(panels[0], film, f"{found.kind}: rank {found.rank} of {found.of}")
        keywords = [patch.text for patch in found.keywords]
        for panel, heading, text in zip(
            panels[1:], ("ground truth", "this model", "keywords"), (found.reference, found.written, "\n".join(keywords)), strict=True
        ):
            _text(panel, heading, text)
        rows.append({"id": found.id, "kind": found.kind, "rank": found.rank, "of": found.of, "score": found.score})
        rows[-1] |= {"truth": found.reference, "written": found.written, "keywords": keywords}
    return saved("figure5", "The best, the median and the worst report by ROUGE-L.", figure, rows)


def drawn_sketch(out: Path, case: Case, model: object) -> Plot:
    """Drawn films beside the real ones, the patches of the report's words highlighted on the drawn one: one case of each kind, by rank.

    Source: Fig. 7.
    """
    shown = shown_drawings(out, case, each=1)
    if not shown:
        raise InputError(f"{out}: no drawn films to show; run the task 'draw' there, with a model that has a classifier")
    explains = _explaining(model)
    figure = Figure(figsize=(11, 3.6 * len(shown)), layout="constrained")
    rows = []
    for panels, found in zip(_rows(figure, len(shown), (1.0, 1.0, 1.4)), shown, strict=True):
        study = next(study for study in case.cases.studies if study.id == found.id)
        outcome = explains.outcome_explain(drawn_path(out, found.id), study.report, force=True)
        _film(
            panels[0], case.cases.pixels[case.cases.studies.index(study)].numpy(), f"real ({found.kind}: rank {found.rank} of {found.of})"
        )
        _film(panels[1], np.asarray(outcome.film), "drawn")
        words = best_words(outcome.result)
        for word, colour in zip(words, _COLOURS, strict=False):
            _box(panels[1], word.box, colour)
        _text(panels[2], "report it was drawn from", study.report, words)
        rows.append({"id": found.id, "kind": found.kind, "rank": found.rank, "of": found.of, "likeness": found.score})
        rows[-1] |= {"report": study.report, "words": [{"text": word.text, "box": list(word.box), "score": word.score} for word in words]}
    return saved(
        "figure7", "The drawn film most like its real one, the median and the least, by features of the film classifier.", figure, rows
    )


def patch_sketch(out: Path, case: Case, model: object) -> Plot:
    """Words of true reports and their adaptive patches, each with the arrow from its fixed place; cases sampled by the seed.

    Source: Fig. 8.
    """
    explains = _explaining(model)
    chosen = np.sort(np.random.default_rng(case.seed).permutation(len(case.cases))[:EACH]).tolist()
    figure = Figure(figsize=(9, 4 * len(chosen)), layout="constrained")
    rows = []
    for panels, place in zip(_rows(figure, len(chosen), (1.0, 1.1)), chosen, strict=True):
        study = case.cases.studies[place]
        outcome = explains.outcome_explain(study.image, study.report, force=True)
        _film(panels[0], np.asarray(outcome.film), "")
        words = best_words(outcome.result)
        arrows = _arrows(panels[0], outcome, words)
        _text(panels[1], "report", study.report, words)
        rows.append({"id": study.id, "report": study.report, "words": arrows})
    return saved("figure8", f"Reports of {len(chosen)} films drawn by the seed, and the patches that match their words best.", figure, rows)


def best_words(result: Result, most: int = WORDS) -> list[WordRecord]:
    """A result's words of the highest cosine, glue words and repeated patches left out."""
    found: dict[int, WordRecord] = {}
    for word in sorted(result.words, key=lambda word: -word.score):
        if len(word.text) >= _GLUE and word.patch not in found and word.text.lower() not in {w.text.lower() for w in found.values()}:
            found[word.patch] = word
    return list(found.values())[:most]


def _explaining(model: object) -> Explains:
    if not isinstance(model, Explains):
        raise InputError("this model shows no patches of words; the figure needs one that does")
    return model


def _arrows(panel: Axes, outcome: Outcome, words: Sequence[WordRecord]) -> list[dict[str, Any]]:
    """Each word's patch with the arrow from its fixed centre, placed as the page of one result places it."""
    width, height = outcome.film.size if outcome.film else (1, 1)
    drawing = view_of(outcome.result, width, height).drawing
    rows = []
    for word, colour in zip(words, _COLOURS, strict=False):
        mark = drawing.mark(drawing.key(word.box, word.patch))
        _box(panel, word.box, colour)
        centre = [part / drawing.scale for part in mark.centre]
        anchor = [part / drawing.scale for part in mark.anchor or mark.centre]
        panel.annotate("", xy=(centre[0], centre[1]), xytext=(anchor[0], anchor[1]), arrowprops=_ARROW | {"color": colour})
        rows.append({"text": word.text, "score": word.score, "box": list(word.box), "anchor": anchor, "centre": centre})
    return rows


def _rows(figure: Figure, count: int, widths: tuple[float, ...]) -> list[list[Axes]]:
    panels = figure.subplots(count, len(widths), squeeze=False, width_ratios=widths)
    for panel in panels.flat:
        panel.set_axis_off()
    return [list(row) for row in panels]


def _film(panel: Axes, film: Any, heading: str) -> None:
    picture = Image.fromarray(np.asarray(film))
    width, height = picture.size
    picture.thumbnail((512, 512))
    panel.imshow(np.asarray(picture), cmap="gray", vmin=0, vmax=255, extent=(0, width, height, 0))
    panel.set_title(heading, fontsize=9)


def _box(panel: Axes, box: Sequence[float], colour: str) -> None:
    x0, y0, x1, y1 = box
    panel.add_patch(Rectangle((x0, y0), max(x1 - x0, 0), max(y1 - y0, 0), fill=False, edgecolor=colour, linewidth=1.5))


def _text(panel: Axes, heading: str, text: str, words: Sequence[WordRecord] = ()) -> None:
    """A text in lines, with its coloured words listed below."""
    lines = [line for part in text.splitlines() for line in textwrap.wrap(part, _WIDE) or [""]]
    panel.text(0, 1, heading, fontsize=9, fontweight="bold", va="top", transform=panel.transAxes)
    panel.text(0, 0.93, _plain("\n".join(lines)), fontsize=8, va="top", transform=panel.transAxes)
    for place, (word, colour) in enumerate(zip(words, _COLOURS, strict=False)):
        x, y = (place % 2) * 0.5, 0.16 - 0.07 * (place // 2)
        panel.text(x, y, _plain(f"{word.text} {word.score:.2f}"), fontsize=8, color=colour, fontweight="bold", transform=panel.transAxes)


def _plain(text: str) -> str:
    """Text that is drawn as it is: a dollar begins no formula."""
    return text.replace("$", r"\$")
