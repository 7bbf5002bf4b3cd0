"""Stage `match`: AdaMatch learns which patches and words belong together (section 3.1, 4.1), with LAMB and a cosine schedule."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cyclicxr.config import Preset
from cyclicxr.data.reports import without_marks
from cyclicxr.match.adamatch import AdaMatch
from cyclicxr.match.global_alignment import GlobalAlignment
from cyclicxr.match.loss import adamatch_loss
from cyclicxr.match.maxsim import maxsim
from cyclicxr.metrics.retrieval import score_retrieval
from cyclicxr.patches.classifier import FilmClassifier
from cyclicxr.training.augment import augment
from cyclicxr.training.corpus import Corpus
from cyclicxr.training.loop import RunDirectory, Stateful, run_loop, seconds_spent, shuffled_batches
from cyclicxr.training.optim import Lamb, cosine, decayed, set_rate
from cyclicxr.training.train_classifier import in_order
from cyclicxr.words.encoder import build_tokenizer

log = logging.getLogger(__name__)


def groups_of(reports: Sequence[str]) -> Int[Tensor, " n"]:
    """A number for each distinct report, ignoring case."""
    numbers: dict[str, int] = {}
    return torch.tensor([numbers.setdefault(report.lower(), len(numbers)) for report in reports])


@torch.no_grad()
def similarities(model: AdaMatch, corpus: Corpus, batch: int = 64) -> tuple[Float[Tensor, "n n"], Float[Tensor, "n n"]]:
    """Every film to every report of a corpus, image to text and text to image."""
    with torch.autocast("cpu", torch.bfloat16):
        patches = torch.cat([model.encode_films(corpus.films(rows)).features for rows in in_order(len(corpus), batch)])
        words = model.encode_texts([without_marks(report) for report in corpus.reports])
    return maxsim(patches, words.features, words.mask)


class MatchTraining(Stateful):
    """Both contrastive losses over a batch of pairs; logs how far the patches moved and how many died."""

    def __init__(self, train: Corpus, val: Corpus, preset: Preset, classifier: FilmClassifier) -> None:
        self.train, self.val, self.preset, self.config = train, val, preset, preset.match
        self.reports = [without_marks(report) for report in train.reports]
        tokenizer = build_tokenizer(preset.words, self.reports)
        self.model = AdaMatch.build(preset.encoder, preset.words, preset.match, tokenizer).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model.image.load_state_dict(classifier.encoder.state_dict())
        self.model.image.stages[: self.config.frozen_stages].requires_grad_(False)
        self.optimizer = Lamb(self._groups(), lr=self.config.learning_rate)
        self.groups = groups_of(self.reports) if self.config.group_identical else torch.arange(len(train))

    def _groups(self) -> list[dict[str, Any]]:
        image = [{**group, "share": self.config.image_rate} for group in decayed(self.model.image, self.config.weight_decay)]
        others = nn.ModuleDict({"project": self.model.project, "text": self.model.text})
        temperature = {"params": [self.model.log_temperature], "weight_decay": 0.0}
        return [*image, *decayed(others, self.config.weight_decay), temperature]

    def centre(self) -> None:
        """Let patches and words start around 0: take the mean of a batch away through the projections' biases. Else all point one way."""
        first = self.batches(0)[0]
        with torch.no_grad():
            tokens = self.model.tokens([self.reports[i] for i in first])
            words = self.model.text.bert(input_ids=tokens.ids, attention_mask=tokens.attention.long()).last_hidden_state[tokens.mask]
            patches = self.model.image(self.train.films(first))[self.config.stage - 1].features.flatten(0, 1)
            for project, features in ((self.model.project, patches), (self.model.text.project, words)):
                project.bias.copy_(-project.weight @ features.float().mean(dim=0))

    def batches(self, epoch: int) -> list[list[int]]:
        """Shuffled."""
        return shuffled_batches(len(self.train), self.config.batch, self.preset.seed, epoch)

    def step(self, indices: list[int], progress: float) -> dict[str, float]:
        """One step of LAMB."""
        rate = self.config.learning_rate * cosine(progress, self.config.warmup)
        set_rate(self.optimizer, rate)
        self.model.train()
        self.model.image.stages[: self.config.frozen_stages].eval()  # else the means of their batch norms would still move
        with torch.autocast("cpu", torch.bfloat16):
            patches = self.model.encode_films(augment(self.train.films(indices)))
            words = self.model.encode_texts([self.reports[i] for i in indices])
        to_text, to_image = maxsim(patches.features, words.features, words.mask)
        loss = adamatch_loss(to_text, to_image, self.model.temperature, self.groups[indices])
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        size = (patches.boxes[..., 2:] - patches.boxes[..., :2]).detach()
        return {
            "loss": float(loss.detach()),
            "rate": rate,
            "gradient norm": float(norm),
            "temperature": float(self.model.temperature.detach()),
            "mean shift": float(patches.shifts.detach().norm(dim=-1).mean()),
            "mean side": float(size.mean()),
            "dead patches": float((size <= 0).any(dim=-1).float().mean()),
        }

    def validate(self) -> dict[str, float]:
        """Retrieval over the whole validation split, identical reports one positive."""
        self.model.eval()
        return retrieval_numbers(*similarities(self.model, self.val), self.val)


def retrieval_numbers(to_text: Float[Tensor, "n n"], to_film: Float[Tensor, "n n"], corpus: Corpus) -> dict[str, float]:
    """R@K and chance, both ways, of every film to every report of a corpus."""
    groups = groups_of(corpus.reports).tolist()
    forth, back = score_retrieval(to_text.numpy(), groups)["CXR-to-report"], score_retrieval(to_film.numpy(), groups)["report-to-CXR"]
    return {f"{name} {key}": scores[key] for name, scores in (("i2t", forth), ("t2i", back)) for key in ("R@1", "R@5", "R@10", "chance@10")}


@torch.inference_mode()
def align(matcher: AdaMatch, train: Corpus, val: Corpus, preset: Preset) -> tuple[GlobalAlignment, dict[str, float]]:
    """The global alignment of a trained matcher, and what it adds to retrieval on the validation split.

    Args:
        matcher: as it was saved, in evaluation mode.
        train: teaches it.
        val: says how far the kinds of similarity spread.
        preset: `match` and the seed.
    """
    seen, new = pooled(matcher, train), pooled(matcher, val)
    learned = GlobalAlignment.fit(seen, [without_marks(report) for report in train.reports], preset.match, preset.seed)
    overall = learned.similarity(new, [without_marks(report) for report in val.reports])
    local = similarities(matcher, val)
    learned = learned.calibrate(*local, overall)
    alone, joined = retrieval_numbers(overall, overall, val), retrieval_numbers(*learned.join(*local, overall), val)
    return learned, {f"{kind}, {key}": value for kind, found in (("global", alone), ("joined", joined)) for key, value in found.items()}


def pooled(matcher: AdaMatch, corpus: Corpus, batch: int = 64) -> Float[Tensor, "n f"]:
    """The pooled patches of every film."""
    return torch.cat([matcher.encode_films(corpus.films(rows)).pooled for rows in in_order(len(corpus), batch)])


def train(corpus: Corpus, preset: Preset, run: RunDirectory, resume: bool) -> None:
    """Train AdaMatch from the classifier's encoder, align films and reports globally, and write both into the model directory.

    Raises:
        InputError: no split `train` or `val`, or no classifier yet.
    """
    torch.manual_seed(preset.seed)
    training = MatchTraining(corpus.split("train"), corpus.split("val"), preset, FilmClassifier.load(run.model))
    training.centre()
    run_loop("match", training, run, epochs=preset.match.epochs, seed=preset.seed, resume=resume)
    training.model.save(run.model)
    cut = training.model.tokens(training.reports).cut
    learned, gained = align(AdaMatch.load(run.model), training.train, training.val, preset)
    learned.save(run.model)
    run.record("match", {**training.validate(), **gained, "reports cut": cut, "seconds": seconds_spent(run, "match")})
