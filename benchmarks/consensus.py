"""What a report gains by each part of composing it of samples: wording and findings on the validation split (decision 0024).

python benchmarks/consensus.py ../shared/data/openi/studies.csv
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from machine import save_result

import cyclicxr
from cyclicxr.compose import UNKNOWN, compose, compose_for
from cyclicxr.data.openi import findings_of
from cyclicxr.evaluate.baselines import best_constant, derangement
from cyclicxr.evaluate.report_tables import coherence_statistic
from cyclicxr.match.adamatch import FilmPatches
from cyclicxr.metrics.clinical import named_findings, score_findings
from cyclicxr.metrics.report import score_reports
from cyclicxr.training.corpus import load_corpus

SHOWN = ("BLEU-1", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr", "distinct outputs", "finding macro F1", "right finding named on abnormal")
COUNTS = (4, 16, 64)


@torch.inference_mode()
def sampled(model: cyclicxr.Model, film: torch.Tensor) -> tuple[list[str], FilmPatches]:
    """All reports that were sampled for a film, and its patches."""
    patches = model.matcher.encode_films(film)
    return next(model.llm.candidates(model.vqgan.encode(film).flatten(1), model.hints.of(model.matcher, patches))), patches


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", type=Path)
    parser.add_argument("--model", default=None, help="name or directory; the shipped model without it")
    parser.add_argument("--cache", type=Path, default=Path("out/evaluate/cache"), help="of decoded films")
    asked = parser.parse_args()
    model = cyclicxr.load(asked.model)
    corpus = load_corpus(asked.studies, model.preset.encoder.size, asked.cache)
    val = corpus.split("val")
    samples, films = [], []
    for film in range(len(val)):
        texts, patches = sampled(model, val.films([film]))
        samples.append(texts)
        films.append(patches)
        print(f"\r{film + 1}/{len(val)}", end="", file=sys.stderr, flush=True)
    references = {study.id: study.report for study in val.studies}
    labels = [findings_of(study.mesh) for study in val.studies]

    def scores(reports: Sequence[str]) -> dict[str, float]:
        found = {
            **score_reports(references, dict(zip(references, reports, strict=True))),
            **score_findings(named_findings(list(reports)), labels),
        }
        told = coherence_statistic(reports)(np.ones((1, len(reports))))
        words = sum(len(report.split()) for report in reports) / len(reports)
        shown = {name: round(found[name], 4) for name in SHOWN} | {name: round(float(value), 3) for name, (value,) in told.items()}
        return {**shown, "words": round(words, 1)}

    def weighed(films: Sequence[FilmPatches]) -> list[str]:
        belief, found = model.preset.language.belief, zip(films, samples, strict=True)
        return [compose_for(film.pooled[0], texts, model.alignment, belief, UNKNOWN) for film, texts in found]

    def informed(films: Sequence[FilmPatches]) -> list[str]:
        return [model.compose(film, [texts])[0] for film, texts in zip(films, samples, strict=True)]

    others = derangement(len(val), 0)
    ours = informed(films)
    rows = [{"sampled": 1, "report": "the sample", **scores([texts[0] for texts in samples])}]
    rows += [
        {"sampled": n, "report": "composed, all samples alike", **scores([compose(texts[:n], [1.0] * n) for texts in samples])}
        for n in COUNTS
    ]
    rows.append({"sampled": 64, "report": "composed, samples weighed by the film", **scores(weighed(films))})
    rows.append({"sampled": 64, "report": "the same, and its likely findings worth their sentences (as shipped)", **scores(ours)})
    rows.append({"sampled": 64, "report": "as shipped, by another film", **scores(informed([films[i] for i in others]))})
    rows.append({"sampled": 64, "report": "as shipped, given to another film", **scores([ours[i] for i in others])})
    rows.append({"sampled": 0, "report": "the true report", **scores(list(references.values()))})
    constant = best_constant(corpus.split("train").reports, corpus.split("train").reports, 0)
    rows.append({"sampled": 0, "report": "always-normal (best constant of train)", **scores([constant] * len(val))})
    print(save_result("consensus", {"films": len(val), "split": "val", "rows": rows}))


if __name__ == "__main__":
    main()
