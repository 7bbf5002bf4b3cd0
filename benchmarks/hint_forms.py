"""Does a language model make more of a film that is told in other words? Keywords alone, with how likely and where each is, and with whole
sentences of training reports: a new model for each, taught reports alone by the same parts, and what the true reports of the validation
split cost with the film's own hints, another film's and none.

python benchmarks/hint_forms.py ../shared/data/openi/studies.csv --passes 4
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from comparison import Numbers, compared, joined
from hints import MATCHED, Row, conditions, kept, nats, tell
from machine import save_result

from cyclicxr.checkpoint import CONFIG, read_preset, write_preset
from cyclicxr.config import Preset, override
from cyclicxr.cycle import find_model
from cyclicxr.language.llm import LanguageModel
from cyclicxr.language.prompt import Example
from cyclicxr.match.adamatch import AdaMatch
from cyclicxr.match.global_alignment import GlobalAlignment
from cyclicxr.metrics.interval import Statistic
from cyclicxr.training.corpus import Corpus, load_corpus
from cyclicxr.training.loop import RunDirectory
from cyclicxr.training.train_codebooks import sentence_book
from cyclicxr.training.train_llm import learn, validation_report

FORMS: dict[str, dict[str, Any]] = {
    "keywords": {},
    "keywords, how likely and where": {"language.keyword_details": True},
    "keywords and three sentences": {"language.sentence_hints": 3},
}
SEED = 0


def parts(model: Path, run: RunDirectory, preset: Preset, train: Corpus) -> None:
    """All of a model but its language model, and the sentences that the hints ask for."""
    shutil.copytree(model, run.model, ignore=shutil.ignore_patterns("llm", CONFIG), dirs_exist_ok=True)
    if preset.language.sentence_hints:
        sentence_book(AdaMatch.load(run.model), GlobalAlignment.load(run.model), train, preset).save(run.model)
    write_preset(run.model, preset)  # last: it says that all are there


def compared_rows(rows: dict[str, Statistic], ours: str, films: int) -> dict[str, Numbers]:
    """Rows by themselves, and one less each other."""
    alone, less = compared(rows, ours, films, SEED)
    return {"rows": joined(alone), "less": joined(less)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", type=Path)
    parser.add_argument("--model", default=None, help="whose parts are used, name or directory; the shipped model without it")
    parser.add_argument("--passes", type=int, default=8, help="over the training reports")
    parser.add_argument("--variants", type=int, default=6, help="encodings of a training film")
    parser.add_argument("--forms", nargs="+", choices=list(FORMS), default=list(FORMS))
    parser.add_argument("--out", type=Path, default=Path("runs/hint_forms"), help="runs of all forms; what is finished there is kept")
    asked = parser.parse_args()
    model = find_model(asked.model)
    shared = {"language.drawing_repeats": 0, "language.epochs": asked.passes, "language.film_variants": asked.variants, "seed": SEED}
    shipped = override(read_preset(model), shared)
    corpus = load_corpus(asked.studies, shipped.encoder.size, asked.out / "cache", shipped.encoder.fit)
    films = len(corpus.split("val"))
    found: dict[str, dict[str, Row]] = {}
    for form in asked.forms:
        run, preset = RunDirectory(asked.out / form.replace(", ", "-").replace(" ", "_")), override(shipped, FORMS[form])
        if not (run.model / CONFIG).exists():
            parts(model, run, preset, corpus.split("train"))
        trainer = learn(corpus, preset, run, resume=True)
        llm, seen = trainer.model.eval(), trainer.val
        about = {"passes": asked.passes, "variants": asked.variants, "ids": seen.ids}
        for name, given in conditions(seen, SEED).items():
            examples = [validation_report(llm, given, i) for i in range(len(given))]
            make = partial(row, llm, examples, partial(tell, f"{form}, hints {name}", len(given)))
            found.setdefault(form, {})[name] = kept(run.root / f"nats-{name}.json", about, make)
    first = next(iter(found))
    own = {form: rows[MATCHED].statistic for form, rows in found.items()}
    result = {
        "films": films,
        "split": "val",
        "passes": asked.passes,
        "variants": asked.variants,
        "forms": {form: compared_rows({name: row.statistic for name, row in rows.items()}, MATCHED, films) for form, rows in found.items()},
        "own hints": {"first": first, **compared_rows(own, first, films)},
    }
    print(save_result("hint_forms", result))


def row(llm: LanguageModel, examples: Sequence[Example], done: Callable[[int], None]) -> Row:
    """Nats of the true reports; nothing is written."""
    return Row([], *nats(llm, examples, done))


if __name__ == "__main__":
    main()
