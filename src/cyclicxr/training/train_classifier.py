"""Stage `classifier`: the image encoder learns the MeSH findings (the paper's classification pre-training, 4.1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional

from cyclicxr import processes
from cyclicxr.config import Preset
from cyclicxr.data.openi import FINDINGS, findings_of
from cyclicxr.data.reports import without_marks
from cyclicxr.match.global_alignment import learn_texts
from cyclicxr.patches.classifier import FilmClassifier
from cyclicxr.training.augment import augment
from cyclicxr.training.corpus import Corpus
from cyclicxr.training.loop import RunDirectory, in_order, run_loop, seconds_spent, shuffled_batches
from cyclicxr.training.optim import cosine, decayed, set_rate
from cyclicxr.training.precision import mixed_precision
from cyclicxr.training.stateful import OnStudies
from cyclicxr.types import InputError, Study

MIN_VALIDATION = 5  # a finding shown by fewer validation films has no AUC worth printing


def labels(studies: Sequence[Study], findings: Sequence[str]) -> Float[Tensor, "n f"]:
    """1 where a study's annotations show the finding."""
    shown = [findings_of(study.mesh) for study in studies]
    return torch.tensor([[float(finding in found) for finding in findings] for found in shown])


def wholes(reports: Sequence[str], preset: Preset) -> Float[Tensor, "n r"]:
    """Training reports in the global alignment's space, less the usual one; what always says the usual one has a squared error of 1."""
    said = torch.from_numpy(learn_texts([without_marks(report) for report in reports], preset.match, preset.seed)[1]).float()
    return said / said.square().mean().sqrt()


def learnable(corpus: Corpus, min_films: int) -> list[str]:
    """Findings that enough films show.

    Raises:
        InputError: none does (a table without a `mesh` column).
    """
    counts = labels(corpus.studies, FINDINGS).sum(dim=0).tolist()
    found = [finding for finding, count in zip(FINDINGS, counts, strict=True) if count >= min_films]
    if not found:
        raise InputError(
            f"studies table: no finding of the `mesh` column is on {min_films} training films; "
            "add annotations or lower classifier.min_films"
        )
    return found


def auc(scores: Float[Tensor, "n f"], truth: Float[Tensor, "n f"], findings: Sequence[str]) -> dict[str, float]:
    """Area under the ROC curve by finding, and their mean, over findings with both kinds of film."""
    enough = [(i, f) for i, f in enumerate(findings) if MIN_VALIDATION <= truth[:, i].sum() <= len(truth) - MIN_VALIDATION]
    found = {finding: float(roc_auc_score(truth[:, i].numpy(), scores[:, i].numpy())) for i, finding in enough}
    return {**({"mean": sum(found.values()) / len(found)} if found else {}), **found}


class Pretraining(nn.Module):
    """The classifier with a second head, which tells the words of the report from the same features; that one is learned for the encoder's
    sake and not kept.

    Args:
        classifier: is trained.
        directions: of the reports' space.
    """

    def __init__(self, classifier: FilmClassifier, directions: int) -> None:
        super().__init__()
        self.classifier, self.words = classifier, nn.Linear(classifier.head.in_features, directions)

    def forward(self, pixels: Float[Tensor, "b 1 h w"]) -> tuple[Float[Tensor, "b f"], Float[Tensor, "b r"]]:
        """Films in [0, 1] -> logits of the findings, and the report that they call for."""
        features = self.classifier.dropout(self.classifier.features(pixels))
        return self.classifier.head(features), self.words(features)


class ClassifierTraining(OnStudies):
    """Binary cross-entropy over the findings, and squared error of the report's words; AdamW, bf16 where it is safe; keeps a running
    average of the weights.
    """

    parts = ("model", "average", "optimizer")

    def __init__(self, train: Corpus, val: Corpus, preset: Preset, findings: Sequence[str]) -> None:
        self.train, self.val, self.preset = train, val, preset
        self.config = preset.classifier
        self.said = wholes(train.reports, preset)
        classifier = FilmClassifier.build(preset.encoder, findings, self.config.dropout)
        self.model = Pretraining(classifier, self.said.shape[1]).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        ema = torch.optim.swa_utils.get_ema_multi_avg_fn(0.99)  # type: ignore[no-untyped-call]
        self.average = torch.optim.swa_utils.AveragedModel(self.model, multi_avg_fn=ema, use_buffers=True)
        self.average.to(processes.device())
        self.heads = processes.parallel(self.model, self.model, partly=True)
        self.optimizer = torch.optim.AdamW(decayed(self.model, self.config.weight_decay), lr=self.config.learning_rate)
        self.truth = labels(train.studies, findings)
        self.val_truth = labels(val.studies, findings)

    def batches(self, epoch: int) -> list[list[int]]:
        """Shuffled."""
        return shuffled_batches(len(self.train), self.config.batch, self.preset.seed, epoch)

    def step(self, indices: list[int], progress: float) -> dict[str, float]:
        """One step of AdamW."""
        rate = self.config.learning_rate * cosine(progress, self.config.warmup)
        set_rate(self.optimizer, rate)
        self.model.train()
        pixels = augment(self.films(indices))
        truth, said = self.truth[indices].to(pixels.device), self.said[indices].to(pixels.device)
        if self.config.mixup:
            share = float(torch.distributions.Beta(self.config.mixup, self.config.mixup).sample())
            order = torch.randperm(len(indices), device=pixels.device)
            pixels, truth, said = (share * part + (1 - share) * part[order] for part in (pixels, truth, said))
        with mixed_precision():
            logits, expected = self.heads(pixels)
        found = functional.binary_cross_entropy_with_logits(logits.float(), truth)
        words = functional.mse_loss(expected.float(), said)
        loss = found + self.config.words_weight * words
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.average.update_parameters(self.model)
        return {"loss": float(loss.detach()), "words": float(words.detach()), "rate": rate, "gradient norm": float(norm)}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """AUC by finding on the validation films."""
        model = self.average.eval()
        with mixed_precision():
            films = (self.val.films(rows).to(processes.device()) for rows in in_order(len(self.val), 64))
            scores = torch.cat([model(pixels)[0].float().cpu() for pixels in films])
        loss = functional.binary_cross_entropy_with_logits(scores, self.val_truth)
        return {
            "loss": float(loss),
            **{f"AUC {name}": value for name, value in auc(scores, self.val_truth, self.model.classifier.findings).items()},
        }


def train(corpus: Corpus, preset: Preset, run: RunDirectory, resume: bool) -> None:
    """Train the classifier and write it into the model directory.

    Raises:
        InputError: no split `train` or `val`, or no annotated finding.
    """
    films, val = corpus.split("train"), corpus.split("val")
    torch.manual_seed(preset.seed)
    training = ClassifierTraining(films, val, preset, learnable(films, preset.classifier.min_films))
    run_loop("classifier", training, run, epochs=preset.classifier.epochs, seed=preset.seed, resume=resume)
    averaged = training.average.module
    assert isinstance(averaged, Pretraining)
    if processes.is_first():
        averaged.classifier.save(run.model)
        findings, seconds = list(averaged.classifier.findings), seconds_spent(run, "classifier")
        run.record("classifier", {**training.validate(), "findings": findings, "seconds": seconds})
    processes.wait()
