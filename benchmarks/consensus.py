"""How many reports are sampled and how the one that is given is chosen: wording and findings on the validation split (decision 0024).

python benchmarks/consensus.py ../shared/data/openi/studies.csv
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from machine import save_result

import cyclicxr
from cyclicxr.data.openi import findings_of
from cyclicxr.evaluate.baselines import best_constant
from cyclicxr.language.decoding import consensus
from cyclicxr.metrics.clinical import named_findings, score_findings
from cyclicxr.metrics.report import score_reports
from cyclicxr.training.corpus import load_corpus

SHOWN = ("BLEU-1", "BLEU-4", "METEOR", "ROUGE-L", "distinct outputs", "right finding named on abnormal", "any finding named on normal")
COUNTS, RECALLS = (1, 4, 16, 64), (1.0, 2.0, 3.0)


@torch.inference_mode()
def sampled(model: cyclicxr.Model, film: torch.Tensor) -> list[list[int]]:
    """All reports that were sampled for a film."""
    keywords = [keyword.text for keyword in model.textual.match(model.matcher, film)[0]]
    return next(iter(model.llm.candidates(model.vqgan.encode(film).flatten(1), [keywords])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", type=Path)
    parser.add_argument("--model", default=None, help="name or directory; the shipped model without it")
    parser.add_argument("--cache", type=Path, default=Path("out/evaluate/cache"), help="of decoded films")
    asked = parser.parse_args()
    model = cyclicxr.load(asked.model)
    corpus = load_corpus(asked.studies, model.preset.encoder.size, asked.cache)
    val = corpus.split("val")
    written = []
    for film in range(len(val)):
        written.append(sampled(model, val.films([film])))
        print(f"\r{film + 1}/{len(val)}", end="", file=sys.stderr, flush=True)
    references = {study.id: study.report for study in val.studies}
    labels = [findings_of(study.mesh) for study in val.studies]

    def scores(reports: Sequence[str]) -> dict[str, float]:
        found = {
            **score_reports(references, dict(zip(references, reports, strict=True))),
            **score_findings(named_findings(list(reports)), labels),
        }
        words = sum(len(report.split()) for report in reports) / len(reports)
        return {**{name: round(found[name], 4) for name in SHOWN}, "words": round(words, 1)}

    def chosen(choose: Callable[[list[list[int]]], int], count: int) -> list[str]:
        return [model.llm.vocabulary.text(texts[choose(texts[:count])]) for texts in written]

    rows = [{"sampled": 1, "chosen by": "the first", **scores(chosen(lambda texts: 0, 1))}]
    for count in COUNTS[1:]:
        for recall in RECALLS:
            name = f"F{recall:g} with the others"
            rows.append({"sampled": count, "chosen by": name, **scores(chosen(lambda texts, by=recall: consensus(texts, by), count))})
    constant = best_constant(corpus.split("train").reports, corpus.split("train").reports, 0)
    rows.append({"sampled": 0, "chosen by": "always-normal (best constant of train)", **scores([constant] * len(val))})
    print(save_result("consensus", {"films": len(val), "split": "val", "rows": rows}))


if __name__ == "__main__":
    main()
