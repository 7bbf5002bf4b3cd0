"""Stage `match`: AdaMatch learns which patches and words belong together (section 3.1, 4.1), with LAMB and a cosine schedule."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from cyclicxr import processes
from cyclicxr.config import Preset
from cyclicxr.data.reports import without_marks
from cyclicxr.match.adamatch import AdaMatch
from cyclicxr.match.film_ridge import FilmRidge
from cyclicxr.match.global_alignment import GlobalAlignment, learn_texts
from cyclicxr.match.loss import adamatch_loss
from cyclicxr.match.peers import mean_word
from cyclicxr.metrics.retrieval import score_retrieval
from cyclicxr.patches.classifier import FilmClassifier
from cyclicxr.training.augment import augment
from cyclicxr.training.augment_text import some_sentences
from cyclicxr.training.corpus import Corpus
from cyclicxr.training.loop import RunDirectory, in_order, run_loop, seconds_spent, shuffled_batches
from cyclicxr.training.optim import Lamb, cosine, decayed, set_rate
from cyclicxr.training.precision import mixed_precision
from cyclicxr.training.stateful import OnStudies
from cyclicxr.training.train_words import WORDS, WordsTraining
from cyclicxr.words.encoder import TokenBatch, build_tokenizer

log = logging.getLogger(__name__)

FILM_PENALTY, WORD_PENALTY = 1e3, 1e2  # [ours] of the regressions that patches and words start from


def groups_of(reports: Sequence[str]) -> Int[Tensor, " n"]:
    """A number for each distinct report, ignoring case."""
    numbers: dict[str, int] = {}
    return torch.tensor([numbers.setdefault(report.lower(), len(numbers)) for report in reports])


@torch.no_grad()
def similarities(model: AdaMatch, corpus: Corpus, batch: int = 64) -> tuple[Float[Tensor, "n n"], Float[Tensor, "n n"]]:
    """Every film to every report of a corpus, image to text and text to image."""
    with mixed_precision():
        patches = torch.cat([model.encode_films(corpus.films(rows)).features for rows in in_order(len(corpus), batch)])
        words = model.encode_texts([without_marks(report) for report in corpus.reports])
    to_text, to_film = model.similarity(patches, words.features, words.mask)
    return to_text.cpu(), to_film.cpu()


class MatchTraining(OnStudies):
    """Both contrastive losses over a batch of pairs; logs how far the patches moved and how many died.

    With several processes the batch is all of theirs (docs/decisions/0036-from-one-machine-to-many.md).
    """

    def __init__(self, train: Corpus, val: Corpus, preset: Preset, classifier: FilmClassifier) -> None:
        self.train, self.val, self.preset, self.config = train, val, preset, preset.match
        self.reports = [without_marks(report) for report in train.reports]
        tokenizer = build_tokenizer(preset.words, self.reports)
        self.model = AdaMatch.build(preset.encoder, preset.words, preset.match, tokenizer).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model.image.load_state_dict(classifier.encoder.state_dict())
        self.model.image.stages[: self.config.frozen_stages].requires_grad_(False)
        self.encoded = processes.parallel(self.model, self._encode, partly=True)
        self.optimizer = Lamb(self._groups(), lr=self.config.learning_rate)
        self.groups = groups_of(self.reports) if self.config.group_identical else torch.arange(len(train))

    def _groups(self) -> list[dict[str, Any]]:
        image = [{**group, "share": self.config.image_rate} for group in decayed(self.model.image, self.config.weight_decay)]
        bert = [{**group, "share": self.config.text_rate} for group in decayed(self.model.text.bert, self.config.weight_decay)]
        others = nn.ModuleDict({"image": self.model.project, "text": self.model.text.project})
        temperature = {"params": [self.model.log_temperature], "weight_decay": 0.0}
        return [*image, *bert, *decayed(others, self.config.weight_decay), temperature]

    def start(self) -> None:
        """Let patches and words start around 0, else all point one way; with `match.aligned_start` in the reports' space as well."""
        if self.config.aligned_start:
            self._align()
        else:
            self._centre()

    @torch.no_grad()
    def _align(self) -> None:
        """Let both projections expect what the report says, in the directions in which training reports differ most (the first d of the
        global alignment's space): ridge regressions, one from the mean patch of a film and one from the mean word of its report. Being
        linear, they place each patch and each word by what it adds. Decision 45.
        """
        self.model.eval()
        said = learn_texts(self.reports, self.config, self.preset.seed)[1][:, : self.config.width]
        films, words = [], []
        for rows in in_order(len(self.train), self.config.batch):
            with mixed_precision():
                patches = self.model.image(self.films(rows))[self.config.stage - 1].features
                read, kept = self._words(rows)
            films.append(patches.float().mean(1).cpu())
            words.append(mean_word(read.float(), kept).cpu())
        for project, means, penalty in ((self.model.project, films, FILM_PENALTY), (self.model.text.project, words, WORD_PENALTY)):
            found = FilmRidge.fit(torch.cat(means), said, penalty)
            weight = (found.weights / found.scale.unsqueeze(1)).T  # (r, f); r < d where the reports have fewer terms than that
            start = project.weight.clone()
            start[: len(weight)] = (weight * project.weight.norm() / weight.norm()).to(start)
            processes.take_from_first(project.weight.copy_(start))
            processes.take_from_first(project.bias.copy_(-start @ found.centre.to(start)))

    def _words(self, rows: list[int]) -> tuple[Float[Tensor, "b k w"], Bool[Tensor, "b k"]]:
        """What the BERT makes of the tokens of some reports, and which of these are real."""
        where, tokens = processes.device(), self.model.tokens([self.reports[i] for i in rows])
        return self.model.text.read(tokens.ids.to(where), tokens.attention.to(where)), tokens.mask.to(where)

    def _centre(self) -> None:
        """Take the mean of a batch away through the projections' biases."""
        first = self.batches(0)[0]
        with torch.no_grad():
            read, kept = self._words(first)
            words = read[kept]
            patches = self.model.image(self.films(first))[self.config.stage - 1].features.flatten(0, 1)
            for project, features in ((self.model.project, patches), (self.model.text.project, words)):
                processes.take_from_first(project.bias.copy_(-project.weight @ features.float().mean(dim=0)))

    def batches(self, epoch: int) -> list[list[int]]:
        """Shuffled."""
        return shuffled_batches(len(self.train), self.config.batch, self.preset.seed, epoch)

    def step(self, indices: list[int], progress: float) -> dict[str, float]:
        """One step of LAMB."""
        rate = self.config.learning_rate * cosine(progress, self.config.warmup)
        set_rate(self.optimizer, rate)
        self.model.train()
        self.model.image.stages[: self.config.frozen_stages].eval()  # else the means of their batch norms would still move
        films = augment(self.films(indices))
        tokens = self.model.tokens([some_sentences(self.reports[i], self.config.sentence_share) for i in indices])
        with mixed_precision():
            patches, boxes, shifts, words, mask = self.encoded(films, tokens)
        loss = self.loss(patches, words, mask, self.groups[indices].to(mask.device))
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        size = (boxes[..., 2:] - boxes[..., :2]).detach()
        return {
            "loss": float(loss.detach()),
            "rate": rate,
            "gradient norm": float(norm),
            "temperature": float(self.model.temperature.detach()),
            "mean shift": float(shifts.detach().norm(dim=-1).mean()),
            "mean side": float(size.mean()),
            "dead patches": float((size <= 0).any(dim=-1).float().mean()),
        }

    def loss(
        self, patches: Float[Tensor, "b n d"], words: Float[Tensor, "b k d"], mask: Bool[Tensor, "b k"], groups: Int[Tensor, " b"]
    ) -> Float[Tensor, ""]:
        """The contrastive loss over the pairs of all processes, the same on each. Source: Eq. (9).

        Words go to all processes; each compares its films with all reports, and those rows go to all: nothing is compared twice.

        Args:
            patches: of this process's films.
            words: of its reports.
            mask: True for real words.
            groups: equal numbers mark identical reports.
        """
        rows = torch.stack(self.model.similarity(patches, *processes.gather_words(words, mask)), dim=1)  # (b, 2, c)
        to_text, to_image = processes.gather(rows).unbind(dim=1)  # (c, c)
        return adamatch_loss(to_text, to_image, self.model.temperature, processes.gather(groups))

    def _encode(self, films: Tensor, tokens: TokenBatch) -> tuple[Tensor, ...]:
        found, words = self.model.encode_films(films), self.model.encode_tokens(tokens)
        return found.features, found.boxes, found.shifts, words.features, words.mask

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
    return torch.cat([matcher.encode_films(corpus.films(rows)).pooled.cpu() for rows in in_order(len(corpus), batch)])


def train(corpus: Corpus, preset: Preset, run: RunDirectory, resume: bool) -> None:
    """Train AdaMatch from the classifier's encoder and a BERT that reads, align films and reports globally, and write both into the model
    directory.

    Raises:
        InputError: no split `train` or `val`, or no classifier yet.
    """
    torch.manual_seed(preset.seed)
    classifier = FilmClassifier.load(run.model)
    training = MatchTraining(corpus.split("train"), corpus.split("val"), preset, classifier)
    if not (resume and run.checkpoint("match").exists()):
        if preset.words.epochs and not preset.words.pretrained:
            words = WordsTraining(training.train, training.val, preset, classifier.findings, training.model.tokenizer)
            run_loop(WORDS, words, run, epochs=preset.words.epochs, seed=preset.seed, resume=resume)
            training.model.text.bert.load_state_dict(words.model.bert.state_dict())
        training.start()
    run_loop("match", training, run, epochs=preset.match.epochs, seed=preset.seed, resume=resume)
    if processes.is_first():
        training.model.save(run.model)
        tokens = training.model.tokens(training.reports)
        counted = {"reports cut": tokens.cut, "reports of unknown words": tokens.unknown}
        learned, gained = align(AdaMatch.load(run.model).to(processes.device()), training.train, training.val, preset)
        learned.save(run.model)
        seconds = sum(seconds_spent(run, part) for part in (WORDS, "match") if run.checkpoint(part).exists())
        run.record("match", {**training.validate(), **gained, **counted, "seconds": seconds})
    processes.wait()
