"""Stage `llm`: both directions of the language model, learned together from codes, hints and reports (section 3.2.3)."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed.checkpoint.state_dict as whole_states
from jaxtyping import Float
from torch import Tensor

from cyclicxr import processes
from cyclicxr.checkpoint import read_json, write_json
from cyclicxr.config import LanguageConfig, Preset
from cyclicxr.cycle import Model
from cyclicxr.data.openi import findings_of
from cyclicxr.language.llm import LanguageModel
from cyclicxr.language.prompt import (
    IGNORED,
    PHRASES,
    Batch,
    Example,
    collate,
    drawing_prompt,
    drawing_response,
    example,
    report_prompt,
    report_response,
)
from cyclicxr.language.vocabulary import Vocabulary
from cyclicxr.metrics.clinical import named_findings, score_findings, scored_findings
from cyclicxr.metrics.report import score_reports
from cyclicxr.parts import hashes, record_parts
from cyclicxr.tokens.vqgan import VQGAN
from cyclicxr.training.corpus import Corpus
from cyclicxr.training.llm_material import Material, gather, retold
from cyclicxr.training.loop import RunDirectory, run_loop
from cyclicxr.training.optim import cosine, decayed, set_rate
from cyclicxr.training.precision import mixed_precision
from cyclicxr.training.stateful import Stateful, identity

log = logging.getLogger(__name__)

WHOLE_FILMS = 0.85  # [ours] progress after which reports are learned from all tokens of a film, as they will be written
GENERATED = "llm_generated"  # the second half of the stage: name of its checkpoint
GENERATED_RATE = 0.3  # [ours] of the learning rate, once drawings are learned from generated reports
CLIP = 1.0  # [ours] largest norm of the gradient
POOL = 16  # batches sorted by length together, so that little is padded
WRITTEN = 200  # validation reports written at the end
TRAINED = whole_states.StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True, strict=False)  # not LoRA's base
WHOLE = whole_states.StateDictOptions(full_state_dict=True, cpu_offload=True)  # of a model that is split over processes, to the first one


class LanguageTrainer(Stateful):
    """The language model's `Trainable`. Each run of n indices is all n films: drawings in the first `drawing_repeats` runs, reports in
    the `report_repeats` behind those.

    Args:
        model: is trained.
        train: of the training split.
        val: of the validation split.
        preset: all numbers of the run; its seed makes the order of examples.
    """

    def __init__(self, model: LanguageModel, train: Material, val: Material, preset: Preset) -> None:
        self.model, self.train, self.val, self.preset, self.cfg = model, train, val, preset, model.cfg
        self.drawn = train
        self.losses = processes.parallel(model, self._losses, layers=model.model.gpt_neox.layers)
        self.optimizer = torch.optim.AdamW(decayed(model, self.cfg.weight_decay), lr=self.cfg.learning_rate, betas=(0.9, 0.98), fused=True)
        self.lengths = [len(model.vocabulary.field(report)) for report in train.reports]

    def go_on_from(self, generated: Material) -> None:
        """After the passes over true reports: drawings are learned from the generated ones. Source: 3.2.2."""
        self.drawn = generated

    @property
    def goes_on(self) -> bool:
        """Whether the passes over true reports are over."""
        return self.drawn is not self.train

    def batches(self, epoch: int) -> list[list[int]]:
        """Each film drawn `drawing_repeats` times and reported `report_repeats` times; every batch holds both, each sorted by length."""
        n, draws, reports = len(self.train), self.cfg.drawing_repeats, self.cfg.report_repeats
        size = max(1, self.cfg.batch // (draws + reports))
        before = self.cfg.epochs if self.goes_on else 0
        generator = torch.Generator().manual_seed(self.preset.seed * 1009 + before + epoch)
        drawn = self._bucketed(range(draws * n), draws * size, generator) if draws else []
        reported = self._bucketed(range(draws * n, (draws + reports) * n), reports * size, generator)
        return [drawings + texts for drawings, texts in zip(drawn, reported, strict=True)] if draws else reported

    def step(self, indices: list[int], progress: float) -> dict[str, float]:
        """One step on the sum of both directions' mean losses. Source: L_text + L_img, Eqs. (10), (11)."""
        self.model.train()
        share = self.cfg.film_share if progress < WHOLE_FILMS and not self.goes_on else 1.0
        drawings = [self._drawing(self._film(i)) for i in indices if self._is_drawing(i)]
        reports = [self._report(self._film(i), share) for i in indices if not self._is_drawing(i)]
        batches = {name: self._batch(some) for name, some in (("drawing", drawings), ("report", reports)) if some}
        with mixed_precision():
            means = self.losses(*batches.values())
        losses = {name: mean * _weight(batch) for (name, batch), mean in zip(batches.items(), means, strict=True)}
        loss = sum(losses.values(), torch.zeros(()))
        rate = self.cfg.learning_rate * (GENERATED_RATE if self.goes_on else 1)
        set_rate(self.optimizer, rate * cosine(progress, self.cfg.warmup))
        self.optimizer.zero_grad()
        loss.backward()
        norm = processes.whole(torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP))
        self.optimizer.step()
        return {"loss": loss.item(), **{name: each.item() for name, each in losses.items()}, "gradient norm": norm.item()}

    def validate(self) -> dict[str, float]:
        """Loss of a token of both directions on the validation split, with all hints and without, in nats."""
        films = range(len(self.val))
        return {
            "report loss": self._mean_loss([validation_report(self.model, self.val, i) for i in films]),
            "report loss without keywords": self._mean_loss([validation_report(self.model, self.val, i, hints=False) for i in films]),
            "drawing loss": self._mean_loss([validation_drawing(self.model, self.val, i) for i in films]),
            "drawing loss without report": self._mean_loss([validation_drawing(self.model, self.val, i, hints=False) for i in films]),
        }

    def weights(self) -> dict[str, Tensor]:
        """The model's `state_dict()`, whole, on the first process."""
        weights = whole_states.get_model_state_dict(self.model, options=WHOLE)
        return {name: tensor for name, tensor in weights.items() if isinstance(tensor, Tensor)}

    def state(self) -> dict[str, Any]:
        """Trained weights and optimiser by the weights' names, whole, on the first process."""
        model, optimizer = whole_states.get_state_dict(self.model, self.optimizer, options=TRAINED)
        return {"model": model, "optimizer": optimizer}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave, each process its part."""
        states = {"model_state_dict": state["model"], "optim_state_dict": state["optimizer"]}
        whole_states.set_state_dict(self.model, self.optimizer, **states, options=TRAINED)

    def share(self, examples: list[int], number: int, of: int) -> list[int]:
        """A share of the drawings, if there are any, and one of the reports; none at all where either is too little."""
        drawn = processes.share([i for i in examples if self._is_drawing(i)], number, of)
        reported = processes.share([i for i in examples if not self._is_drawing(i)], number, of)
        return drawn + reported if reported and (drawn or not self.cfg.drawing_repeats) else []

    def identity(self) -> dict[str, str]:
        """Hashes of all settings, and of the studies' names and reports, those that drawings are learned from too."""
        return identity(self.preset, [self.train.ids, self.train.reports, self.drawn.reports])

    def name(self, example: int) -> str:
        """The study's id."""
        return self.train.ids[self._film(example)]

    def _film(self, index: int) -> int:
        return index % len(self.train)

    def _is_drawing(self, index: int) -> bool:
        return index < self.cfg.drawing_repeats * len(self.train)

    def _losses(self, *batches: Batch) -> tuple[Tensor, ...]:
        return tuple(self.model.loss(batch) for batch in batches)

    def _report(self, film: int, share: float) -> Example:
        variant = int(torch.randint(len(self.train.codes), ()))
        keywords = _kept(self.train.keywords[variant][film], self.cfg.keyword_dropout)
        prompt = report_prompt(self.model.vocabulary, self.train.codes[variant, film].tolist(), keywords)
        return example(prompt, report_response(self.model.vocabulary, self.train.reports[film], self.cfg.max_report_tokens), share)

    def _drawing(self, film: int) -> Example:
        patches = _kept(self.drawn.keypatches[film], self.cfg.keyword_dropout)
        silent = float(torch.rand(())) < self.cfg.guidance_dropout
        return drawing_example(self.model, self.drawn, film, [] if silent else patches, silent=silent)

    def _batch(self, examples: Sequence[Example]) -> Batch:
        batch, where = collate(examples, self.model.vocabulary.padding), processes.device()
        return Batch(batch.ids.to(where), batch.positions.to(where), batch.labels.to(where))

    def _bucketed(self, examples: range, size: int, generator: torch.Generator) -> list[list[int]]:
        order = torch.randperm(len(examples), generator=generator).tolist()
        batches: list[list[int]] = []
        for start in range(0, len(order), POOL * size):
            pool = sorted((examples[i] for i in order[start : start + POOL * size]), key=lambda i: self.lengths[self._film(i)])
            batches += [pool[i : i + size] for i in range(0, len(pool), size)]
        return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]

    @torch.no_grad()
    def _mean_loss(self, examples: list[Example]) -> float:
        self.model.eval()
        total, tokens = 0.0, 0
        for start in range(0, len(examples), self.cfg.batch):
            batch = self._batch(examples[start : start + self.cfg.batch])
            count = int((batch.labels != IGNORED).sum())
            with mixed_precision():
                total += count * float(*self.losses(batch))
            tokens += count
        return total / tokens


def validation_report(model: LanguageModel, material: Material, film: int, *, hints: bool = True) -> Example:
    """The report of a film as it will be asked for."""
    prompt = report_prompt(model.vocabulary, material.codes[0, film].tolist(), material.keywords[0][film] if hints else ())
    return example(prompt, report_response(model.vocabulary, material.reports[film], model.cfg.max_report_tokens))


def validation_drawing(model: LanguageModel, material: Material, film: int, *, hints: bool = True) -> Example:
    """The drawing of a report as it will be asked for; without hints nothing is said at all."""
    return drawing_example(model, material, film, material.keypatches[film] if hints else [], silent=not hints)


def drawing_example(model: LanguageModel, material: Material, film: int, keypatches: Sequence[int], *, silent: bool) -> Example:
    """The drawing of a film from its report and the keywords that it affirms; a silent one from neither."""
    said, named = ("", []) if silent else (material.reports[film], material.named[film])
    cfg, words = model.cfg, model.vocabulary
    prompt = drawing_prompt(words, said, keypatches, cfg.max_report_tokens, named if cfg.drawing_keywords else None)
    return example(prompt, drawing_response(words, material.codes[0, film].tolist()))


def train(corpus: Corpus, preset: Preset, run: RunDirectory, resume: bool) -> None:
    """Train the language model on the training split, write `llm/`, and record what it learned on the validation split.

    Args:
        corpus: all studies.
        preset: numbers of every stage.
        run: holds the matcher, the VQ-GAN and the codebooks.
        resume: go on from the stage's checkpoint, or leave a stage that is recorded as finished.
    """
    if resume and "llm" in run.records():
        log.info("llm: done before")
        return
    trainer = learn(corpus, preset, run, resume)
    _save(trainer, run)
    if preset.language.generated_epochs:
        with processes.first_goes_first():
            asked = trainer.train if preset.language.hints == "film" else gather(corpus.split("train"), preset, run, 1, taught=True)
        trainer.go_on_from(retold(trainer.train, generated_reports(asked, run), preset, run))
        run_loop(GENERATED, trainer, run, epochs=preset.language.generated_epochs, seed=preset.seed, resume=resume)
        _save(trainer, run)
    numbers = trainer.validate()
    if processes.is_first():
        run.record("llm", {**numbers, **written_scores(Model.load(run.model), corpus.split("val"))})
    processes.wait()


def learn(corpus: Corpus, preset: Preset, run: RunDirectory, resume: bool) -> LanguageTrainer:
    """A new language model that has passed over the true reports; arguments as of `train`, nothing is saved but checkpoints."""
    cfg = preset.language
    with processes.first_goes_first():
        material = gather(corpus.split("train"), preset, run, cfg.film_variants, cfg.hints, taught=True)
        val_material = gather(corpus.split("val"), preset, run, 1)
    torch.manual_seed(preset.seed)
    model = new_model(material, cfg, preset.vqgan.codes, preset.image_tokens, _code_vectors(preset, run))
    trainer = LanguageTrainer(model, material, val_material, preset)
    run_loop("llm", trainer, run, epochs=cfg.epochs, seed=preset.seed, resume=resume)
    return trainer


def generated_reports(material: Material, run: RunDirectory) -> list[str]:
    """A report of each film, written by the run's language model from the film itself and the keywords matched to it. Each process writes
    its share into the run's cache, and reads those of all.
    """
    count, rank = processes.count(), processes.rank()
    stem = f"generated-{hashlib.sha256(str(hashes(run.model, ['llm'])).encode()).hexdigest()[:16]}"
    paths = [run.root / "cache" / f"{stem}-{number}-of-{count}.json" for number in range(count)]
    if not paths[rank].exists():
        model = LanguageModel.load(run.model / "llm").to(processes.device())
        write_json(paths[rank], model.write(material.codes[0][rank::count], material.keywords[0][rank::count]))
    processes.wait()
    shares = [read_json(path) for path in paths]
    return [shares[i % count][i // count] for i in range(len(material))]


def _save(trainer: LanguageTrainer, run: RunDirectory) -> None:
    weights = trainer.weights()
    if processes.is_first():
        trainer.model.save(run.model / "llm", weights=weights)
        record_parts(run.model, ["llm"])
    processes.wait()


def new_model(
    material: Material, cfg: LanguageConfig, codes: int, image_tokens: int, code_vectors: Float[Tensor, "codes c"] | None
) -> LanguageModel:
    """An untrained model with the vocabulary of the training reports and keywords."""
    if cfg.pretrained:
        vocabulary = Vocabulary.extend(cfg.pretrained, cfg.revision, codes)
    else:
        keywords = sorted({keyword for films in material.keywords for film in films for keyword in film})
        vocabulary = Vocabulary.train([*material.reports, *keywords], cfg.vocabulary, codes, PHRASES)
    return LanguageModel.build(vocabulary, cfg, image_tokens, code_vectors)


def written_scores(model: Model, corpus: Corpus) -> dict[str, float]:
    """Scores of the reports that the model writes for the first films of a split: the wording, how many differ, the findings named."""
    written, studies = model.write_reports(corpus.pixels[:WRITTEN]), corpus.studies[:WRITTEN]
    ids = [study.id for study in studies]
    scores = score_reports({study.id: study.report for study in studies}, dict(zip(ids, written, strict=True)))
    labels = [findings_of(study.mesh) for study in studies]
    findings = score_findings(named_findings(written), labels) if scored_findings(labels) else {}
    words = sum(len(text.split()) for text in written) / len(written)
    return {**scores, **findings, "words a report": words, "reports": float(len(written))}


def _code_vectors(preset: Preset, run: RunDirectory) -> Tensor:
    return VQGAN.load(run.model / "vqgan.safetensors", preset.vqgan).code_vectors()


def _weight(batch: Batch) -> float:
    """Of a process's mean loss in the mean over the processes, so that each token counts alike: its tokens in those of a mean process."""
    tokens = (batch.labels[:, 1:] != IGNORED).sum()
    return float(tokens / processes.mean(tokens))


def _kept(hints: Sequence[Any], dropout: float) -> list[Any]:
    """Hints without some: a share between 0 and twice `dropout`, anew for each example, so that few hints and many are both learned."""
    share = 2 * dropout * float(torch.rand(()))
    return [hint for hint, chance in zip(hints, torch.rand(len(hints)).tolist(), strict=True) if chance >= share]
