"""Written reports -> tables: words, labels, findings and the user's own metrics, system beside system, and ours against each."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

from cyclicxr.data.openi import findings_of
from cyclicxr.data.reports import sentences, without_marks
from cyclicxr.evaluate.system import Case, Table
from cyclicxr.metrics.chexbert import CheXbert
from cyclicxr.metrics.chexpert import NAME, label_reports
from cyclicxr.metrics.clinical import finding_statistics, named_findings, scored_findings
from cyclicxr.metrics.coherence import coherence
from cyclicxr.metrics.interval import Measure, Statistic, measure, paired, single
from cyclicxr.metrics.labels import CLASSES, LabelStatistics, label_statistics, present
from cyclicxr.metrics.plugin import plugin_scores
from cyclicxr.metrics.ptb import Meteor, open_meteor
from cyclicxr.metrics.radgraph import Annotations, radgraph_f1, read_annotations
from cyclicxr.metrics.report import ReportStatistics, bleu_of, output_counts, report_statistics
from cyclicxr.types import InputError

CEILING = "the true report (ceiling of the finding reader)"
LABELLED = "labelled films"
COHERENCE = ("contradicts itself", "sentences said again")


@dataclass(frozen=True)
class Extras:
    """Metrics that need something of the user's; each adds its columns to the table "report".

    Args:
        chexbert: directory of CheXbert's weights (`metrics.chexbert`).
        radgraph: annotations of all texts, true and written (`metrics.radgraph`).
        commands: metric name -> command that scores pairs (`metrics.plugin`).
    """

    chexbert: Path | None = None
    radgraph: Path | None = None
    commands: Mapping[str, str] = field(default_factory=dict)


NO_EXTRAS = Extras()


class Remembered:
    """A statistic that computes each set of resamples once: the intervals and every comparison ask for the same ones.

    Args:
        statistic: what is asked.
    """

    def __init__(self, statistic: Statistic) -> None:
        self._statistic = statistic
        self._known: dict[bytes, dict[str, Float[np.ndarray, " r"]]] = {}

    def __call__(self, weights: Float[np.ndarray, "r n"]) -> dict[str, Float[np.ndarray, " r"]]:
        key = hashlib.sha256(np.ascontiguousarray(weights).data).digest()
        if key not in self._known:
            self._known[key] = self._statistic(weights)
        return self._known[key]


@dataclass(frozen=True)
class _Scored:
    """All statistics of one system: over which films -> (how many, statistic), and its labels one by one."""

    groups: dict[str, tuple[int, Statistic]]
    labels: LabelStatistics
    by_finding: dict[str, tuple[float, int]]


def report_tables(systems: Mapping[str, Sequence[str]], case: Case, extras: Extras = NO_EXTRAS) -> dict[str, Table]:
    """Tables "report" (references as they stand), "report, paired" (the first system less each other), "report, without marks",
    "report by label" (CheXpert's labels) and "report by finding" (findings of the film).

    Args:
        systems: name -> a report a film, in the order of the split; the first is compared with the others. An empty report is scored as
            empty, and counted.
        case: what is evaluated.
        extras: metrics of the user's.

    Raises:
        InputError: a system with more or fewer reports than films, a true report without words, or an extra that does not work.
    """
    check_lengths(systems, len(case.cases))
    studies = case.cases.studies
    references = [case.raw[study.id] for study in studies]
    findings = [findings_of(study.mesh) for study in studies]
    asked = _Asked(case, references, findings, extras)
    with open_meteor() as meteor:
        scored = {name: asked.score(written, meteor) for name, written in systems.items()}
        table: Table = {name: _measured(found, case.seed) | _counts(systems[name]) for name, found in scored.items()}
        compared = _compared(scored, case.seed)
        clean = {name: _words(case, [without_marks(text) for text in written], meteor) for name, written in systems.items()}
    tables = {"report": table, "report, paired": compared, "report, without marks": clean}
    tables["report by label"] = _by_part({name: found.labels.by_class() for name, found in scored.items()}, len(studies), "reports")
    by_finding = {name: found.by_finding for name, found in scored.items()}
    if scored_findings(findings):
        statistics, coherent = finding_statistics(named_findings(references), findings), coherence_statistic(references)
        table[CEILING] = measure(statistics.scores, len(statistics.abnormal), case.seed) | measure(coherent, len(references), case.seed)
        by_finding[CEILING] = statistics.by_finding()
    tables["report by finding"] = _by_part(by_finding, len(studies), "films")
    return tables


def check_lengths(systems: Mapping[str, Sequence[str]], films: int) -> None:
    """Refuse systems that did not write one report a film.

    Raises:
        InputError: one did not.
    """
    for name, written in systems.items():
        if len(written) != films:
            raise InputError(f"reports of '{name}': {len(written)} for {films} films; give one a film, an empty one where there is none")


def report_cases(written: Sequence[str], case: Case) -> list[dict[str, object]]:
    """What each report of a system scores by itself: id, BLEU-4, ROUGE-L, CIDEr, and the labels and findings right, wrong and missed.

    Labels are CheXpert's, against the true report; findings are the film's, where it is labelled.
    """
    studies = case.cases.studies
    references = [case.raw[study.id] for study in studies]
    statistics = report_statistics(references, written, None)
    bleu = bleu_of(statistics.bleu)[:, 3]
    shown, said = present(label_reports(references)), present(label_reports(written))
    named = named_findings(written)
    cases: list[dict[str, object]] = []
    for i, study in enumerate(studies):
        labels = [{CLASSES[j] for j in np.flatnonzero(side[i])} for side in (said, shown)]
        found: dict[str, object] = {"id": study.id, "BLEU-4": float(bleu[i])}
        found |= {"ROUGE-L": float(statistics.rouge[i]), "CIDEr": float(statistics.cider[i])}
        found |= _outcome("labels", labels[0], labels[1])
        film = findings_of(study.mesh)
        cases.append(found | (_outcome("findings", named[i], film - {"normal"}) if film else {}))
    return cases


class _Asked:
    """What is computed once of the true reports, for all systems."""

    def __init__(self, case: Case, references: Sequence[str], findings: Sequence[set[str]], extras: Extras) -> None:
        self.ids = [study.id for study in case.cases.studies]
        self.references, self.findings, self.extras = references, findings, extras
        self.labels = label_reports(references)
        self.chexbert = CheXbert.load(extras.chexbert) if extras.chexbert else None
        self.bert_labels = self.chexbert.label(references) if self.chexbert else None
        self.annotations: Annotations | None = read_annotations(extras.radgraph) if extras.radgraph else None

    def score(self, written: Sequence[str], meteor: Meteor | None) -> _Scored:
        labels = label_statistics(NAME, self.labels, label_reports(written))
        parts: list[Statistic] = [report_statistics(self.references, written, meteor).scores, labels.scores, coherence_statistic(written)]
        if self.chexbert is not None and self.bert_labels is not None:
            parts.append(label_statistics("CheXbert", self.bert_labels, self.chexbert.label(written)).scores)
        for name, values in self._extra_scores(written).items():
            parts.append(_mean_of(name, values))
        groups: dict[str, tuple[int, Statistic]] = {"films": (len(written), Remembered(_together(parts)))}
        by_finding: dict[str, tuple[float, int]] = {}
        if scored_findings(self.findings):
            statistics = finding_statistics(named_findings(written), self.findings)
            groups[LABELLED] = (len(statistics.abnormal), Remembered(statistics.scores))
            by_finding = statistics.by_finding()
        return _Scored(groups, labels, by_finding)

    def _extra_scores(self, written: Sequence[str]) -> dict[str, Float[np.ndarray, " n"]]:
        found = radgraph_f1(self.annotations, self.references, written) if self.annotations is not None else {}
        commands = self.extras.commands.items()
        return found | {name: plugin_scores(name, command, self.ids, self.references, written) for name, command in commands}


def _together(parts: Sequence[Statistic]) -> Statistic:
    return lambda weights: {name: values for part in parts for name, values in part(weights).items()}


def _mean_of(name: str, values: Float[np.ndarray, " n"]) -> Statistic:
    return lambda weights: {name: weights @ values / weights.sum(1)}


def coherence_statistic(written: Sequence[str]) -> Statistic:
    """Share of the reports that deny what they affirm, and how many sentences of a report say again what is said."""
    found = np.array([coherence([text for text, _, _ in sentences(report)]) for report in written], dtype=float)
    return _together([_mean_of(name, values) for name, values in zip(COHERENCE, found.T, strict=True)])


def _measured(scored: _Scored, seed: int) -> dict[str, Measure]:
    return {name: found for n, statistic in scored.groups.values() for name, found in measure(statistic, n, seed).items()}


def _compared(scored: Mapping[str, _Scored], seed: int) -> Table:
    ours, *others = scored
    table: Table = {}
    for name in others:
        row = table.setdefault(f"{ours} against {name}", {})
        for group, (n, statistic) in scored[ours].groups.items():
            row |= paired(statistic, scored[name].groups[group][1], n, seed)
    return table


def _words(case: Case, written: Sequence[str], meteor: Meteor | None) -> dict[str, Measure]:
    statistics: ReportStatistics = report_statistics(case.cases.reports, written, meteor)
    return measure(statistics.scores, len(written), case.seed) | _counts(written)


def _counts(written: Sequence[str]) -> dict[str, Measure]:
    return {name: single(value, len(written)) for name, value in output_counts(written).items()}


def _by_part(systems: Mapping[str, Mapping[str, tuple[float, int]]], n: int, what: str) -> Table:
    table: Table = {}
    for name, parts in systems.items():
        for part, (score, having) in parts.items():
            if having:
                table.setdefault(f"{part} ({having} {what})", {})[name] = single(score, n)
    return table


def _outcome(kind: str, said: set[str], shown: set[str]) -> dict[str, list[str]]:
    sides = {"right": said & shown, "wrong": said - shown, "missed": shown - said}
    return {f"{kind} {name}": sorted(side) for name, side in sides.items()}
