"""Is what retrieval needs in the film classifier's features? A linear model of them beside the matcher, on one split.

Films are the mean and the maximum over the patches of stages 2 to 4 of the frozen film classifier; reports the words and pairs of words
that they hold, each centred and divided by its deviation over the training reports, in 150 dimensions. Ridge regression leads from the one
to the other; a film and a report are as alike as the cosine between what it foretells and what the report is.

python benchmarks/linear_retrieval.py ../shared/data/openi/studies.csv
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from machine import save_result
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler, normalize

import cyclicxr
from cyclicxr.evaluate.system import over_films
from cyclicxr.metrics.retrieval import score_retrieval
from cyclicxr.patches.classifier import FilmClassifier
from cyclicxr.training.corpus import Corpus, load_corpus
from cyclicxr.training.train_match import groups_of, similarities

DIMENSIONS, PENALTY, LEAST = 150, 3000.0, 8  # chosen on the validation split; LEAST reports hold a word that counts


def features(classifier: FilmClassifier, films: Corpus) -> np.ndarray:
    """Mean and maximum over the patches of stages 2 to 4: (n, 768)."""

    def pooled(pixels: torch.Tensor) -> torch.Tensor:
        stages = [stage.features for stage in classifier.encoder(pixels)[1:]]
        return torch.cat([part for stage in stages for part in (stage.mean(1), stage.amax(1))], dim=1)

    return over_films(pooled, films.pixels).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", type=Path)
    parser.add_argument("--model", default=None, help="name or directory; the shipped model without it")
    parser.add_argument("--split", default="val")
    parser.add_argument("--cache", type=Path, default=Path("out/evaluate/cache"), help="of decoded films")
    asked = parser.parse_args()
    model = cyclicxr.load(asked.model)
    corpus = load_corpus(asked.studies, model.preset.encoder.size, asked.cache)
    train, asked_of = corpus.split("train"), corpus.split(asked.split)

    words = CountVectorizer(binary=True, ngram_range=(1, 2), min_df=LEAST, token_pattern=r"[a-z]+")
    scale, reduce = StandardScaler(), TruncatedSVD(DIMENSIONS, random_state=0)
    taught = reduce.fit_transform(scale.fit_transform(words.fit_transform(train.reports).toarray()))
    reports = reduce.transform(scale.transform(words.transform(asked_of.reports).toarray()))

    seen = StandardScaler()
    regression = Ridge(PENALTY).fit(seen.fit_transform(features(model.classifier, train)), taught)
    foretold = regression.predict(seen.transform(features(model.classifier, asked_of)))

    groups = groups_of(asked_of.reports).tolist()
    linear = score_retrieval(normalize(foretold) @ normalize(reports).T, groups)
    to_text, to_image = similarities(model.matcher, asked_of)
    ours = {
        "CXR-to-report": score_retrieval(to_text.numpy(), groups)["CXR-to-report"],
        "report-to-CXR": score_retrieval(to_image.numpy(), groups)["report-to-CXR"],
    }
    print(save_result("linear_retrieval", {"split": asked.split, "n": len(asked_of), "linear": linear, "matcher": ours}))


if __name__ == "__main__":
    main()
