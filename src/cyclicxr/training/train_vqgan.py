"""Stage `vqgan`: films -> 1,024 codes -> films, against pixels, the classifier's features and a discriminator ([13])."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from cyclicxr import processes
from cyclicxr.config import Preset
from cyclicxr.metrics.image import reconstruction_error
from cyclicxr.patches.classifier import FilmClassifier
from cyclicxr.tokens.losses import PatchDiscriminator, adaptive_weight, discriminator_loss, generator_loss, perceptual_distance
from cyclicxr.tokens.quantize import perplexity, usage
from cyclicxr.tokens.vqgan import VQGAN
from cyclicxr.training.augment import grey_level
from cyclicxr.training.corpus import Corpus
from cyclicxr.training.loop import RunDirectory, run_loop, seconds_spent, shuffled_batches
from cyclicxr.training.optim import cosine, set_rate
from cyclicxr.training.precision import mixed_precision
from cyclicxr.training.stateful import OnStudies

DECODER = "vqgan_decoder"  # the second loop's name: of its checkpoint and its log
Features = Callable[[Tensor], Sequence[Tensor]]

BETAS = (0.5, 0.9)  # [taming] of both Adams
CRITIC_RATE = 2 / 3  # [ours] learning rate of the discriminator, in those of the VQ-GAN
DECODER_RATE = 1 / 3  # [ours] and of the decoder alone
START_FILMS = 64  # [ours] whose vectors make the codes
WARMUP = 0.03  # [ours] share of all steps
SHIFT = 12  # [ours] pixels: films move by up to this much, unblurred, so that a code means the same everywhere
PERIOD = 16  # [ours] pixels of the features' grid: both films move against it, so that no grid of its strides is drawn
LARGEST_GRADIENT = 1.0  # [ours] norm


class VQGANTraining(OnStudies):
    """Encoder, codes, decoder and discriminator together: L1, perceptual, commitment and adversarial loss; bf16 where it is safe.

    Args:
        train: films to learn from.
        val: films to measure on.
        preset: `vqgan` and the seed.
        features: films (b, 1, h, w) in [0, 1] -> maps for the perceptual loss, frozen.
    """

    parts = ("model", "discriminator", "optimizer", "critic_optimizer")

    def __init__(self, train: Corpus, val: Corpus, preset: Preset, features: Features) -> None:
        self.train, self.val, self.preset, self.features = train, val, preset, features
        self.config = preset.vqgan
        self.model = VQGAN(self.config)
        self.redrawn = processes.parallel(self.model, self.model)
        self.discriminator = PatchDiscriminator(self.config.discriminator_channels)
        self.judged = processes.parallel(self.discriminator, self._judge)
        tensors = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(tensors, lr=self.config.learning_rate, betas=BETAS)
        self.critic_optimizer = torch.optim.Adam(self.discriminator.parameters(), lr=self.config.learning_rate, betas=BETAS)

    def batches(self, epoch: int) -> list[list[int]]:
        """Shuffled."""
        return shuffled_batches(len(self.train), self.config.batch, self.preset.seed, epoch)

    def step(self, indices: list[int], progress: float) -> dict[str, float]:
        """One step of the VQ-GAN and, once it has joined, of the discriminator."""
        rate = self.config.learning_rate * cosine(progress, WARMUP)
        set_rate(self.optimizer, rate)
        set_rate(self.critic_optimizer, CRITIC_RATE * rate)
        self.model.train()
        if progress >= self.config.codebook_start and not bool(self.model.quantize.started):
            with mixed_precision():
                self.model.start_codes(self.films(torch.randperm(len(self.train))[:START_FILMS].tolist()))
        films = shifted(grey_level(self.films(indices)))
        with mixed_precision():
            redrawn, commitment, ids = self.redrawn(films)
        redrawn = redrawn.float()
        gradient, numbers = self.pull(films, redrawn, adversarial=progress >= self.config.adversarial_start)
        norm = _stepped(self.optimizer, [redrawn, commitment], [gradient, torch.ones_like(commitment)])
        committed = float(commitment.detach())
        of_codes = {"commitment": committed, "perplexity": perplexity(ids, self.config.codes)}
        return {**numbers, "loss": numbers["loss"] + committed, **of_codes, "gradient norm": norm, "rate": rate}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Reconstruction and codes of the validation films."""
        with mixed_precision():
            return measure(self.model.eval(), self.val, self.config.batch)

    def pull(
        self, films: Float[Tensor, "b 1 h w"], redrawn: Float[Tensor, "b 1 h w"], *, adversarial: bool
    ) -> tuple[Float[Tensor, "b 1 h w"], dict[str, float]]:
        """Gradient of L1, perceptual and, where asked, adversarial loss at the reconstructions, and their numbers; then the discriminator
        takes its step, too."""
        l1, perceptual = functional.l1_loss(redrawn, films), self._perceptual(films, redrawn)
        loss = l1 + self.config.perceptual * perceptual
        (gradient,) = torch.autograd.grad(loss, redrawn, retain_graph=True)
        numbers = {name: float(value.detach()) for name, value in {"loss": loss, "L1": l1, "perceptual": perceptual}.items()}
        if not adversarial:
            return gradient, numbers
        more, of_discriminator = self._adversarial(films, redrawn, gradient)
        return gradient + more, {**numbers, **of_discriminator}

    def _perceptual(self, films: Float[Tensor, "b 1 h w"], redrawn: Float[Tensor, "b 1 h w"]) -> Float[Tensor, ""]:
        """Distance of their features, both films moved alike against the features' grid; 0 where it weighs nothing."""
        if self.config.perceptual == 0:
            return redrawn.new_zeros(())
        with mixed_precision():
            films, redrawn = shifted(torch.cat([films, redrawn], dim=1), PERIOD // 2).chunk(2, dim=1)
            with torch.no_grad():
                real = self.features(films)
            return perceptual_distance(real, self.features(redrawn))

    def _adversarial(
        self, films: Float[Tensor, "b 1 h w"], redrawn: Float[Tensor, "b 1 h w"], gradient: Float[Tensor, "b 1 h w"]
    ) -> tuple[Float[Tensor, "b 1 h w"], dict[str, float]]:
        """Gradient of the weighted adversarial loss at the reconstruction, and one step of the discriminator."""
        self.discriminator.train()
        top, left, side = _window(films.shape[-1], self.config.discriminator_crop)
        cut = (..., slice(top, top + side), slice(left, left + side))
        with mixed_precision():
            fooled = generator_loss(self.discriminator(redrawn[cut]))
            (adversarial,) = torch.autograd.grad(fooled, redrawn, retain_graph=True)
            loss = discriminator_loss(*self.judged(films[cut], redrawn[cut].detach()))
        last = self.model.last_layer()
        at_last = [processes.mean(torch.autograd.grad(redrawn, last, g, retain_graph=True)[0]) for g in (gradient, adversarial)]
        weight = self.config.adversarial * adaptive_weight(*at_last)
        self.critic_optimizer.zero_grad()
        torch.autograd.backward(loss)
        self.critic_optimizer.step()
        numbers = {"discriminator": float(loss.detach()), "adversarial": float(fooled.detach()), "adversarial weight": float(weight)}
        return weight * adversarial, numbers

    def _judge(self, real: Float[Tensor, "b 1 h w"], redrawn: Float[Tensor, "b 1 h w"]) -> tuple[Tensor, Tensor]:
        return self.discriminator(real), self.discriminator(redrawn)


class DecoderTraining(OnStudies):
    """The decoder alone goes on, against the same losses: codes stay what they mean, and films become sharp.

    Args:
        whole: the training that is done; its model and its discriminator are trained on.
    """

    parts = ("decoder", "optimizer", "discriminator", "critic_optimizer")

    def __init__(self, whole: VQGANTraining) -> None:
        self.whole, self.model, self.train, self.preset = whole, whole.model, whole.train, whole.preset
        self.decoder = torch.nn.ModuleList([self.model.post_quant_conv, self.model.decoder])
        self.redrawn = processes.parallel(self.decoder, self.model.redraw)
        self.optimizer = torch.optim.Adam(self.decoder.parameters(), lr=whole.config.learning_rate, betas=BETAS)
        self.discriminator, self.critic_optimizer = whole.discriminator, whole.critic_optimizer

    def batches(self, epoch: int) -> list[list[int]]:
        """Shuffled, as the epochs after those of the whole."""
        return self.whole.batches(self.whole.config.epochs + epoch)

    def step(self, indices: list[int], progress: float) -> dict[str, float]:
        """One step of the decoder and of the discriminator."""
        rate = self.whole.config.learning_rate * cosine(progress, WARMUP)
        set_rate(self.optimizer, DECODER_RATE * rate)
        set_rate(self.critic_optimizer, CRITIC_RATE * rate)
        self.model.eval()
        films = shifted(grey_level(self.films(indices)))
        with mixed_precision():
            redrawn = self.redrawn(self.model.encode(films))
        redrawn = redrawn.float()
        gradient, numbers = self.whole.pull(films, redrawn, adversarial=True)
        norm = _stepped(self.optimizer, [redrawn], [gradient])
        return {**numbers, "gradient norm": norm, "rate": DECODER_RATE * rate}

    def validate(self) -> dict[str, float]:
        """As of the whole."""
        return self.whole.validate()


@torch.no_grad()
def measure(model: VQGAN, films: Corpus, batch: int) -> dict[str, float]:
    """Mean L1, PSNR (dB) and SSIM of the reconstructions; share of the codes in use, and their perplexity."""
    errors: dict[str, list[Tensor]] = {}
    ids: list[Tensor] = []
    for start in range(0, len(films), batch):
        pixels = films.films(list(range(start, min(start + batch, len(films))))).to(model.last_layer().device)
        ids.append(model.encode(pixels).cpu())
        for name, values in reconstruction_error(pixels, model.decode(ids[-1].to(pixels.device))).items():
            errors.setdefault(name, []).append(values.cpu())
    codes = torch.cat(ids)
    means = {name: float(torch.cat(values).mean()) for name, values in errors.items()}
    return {**means, "usage": usage(codes, model.config.codes), "perplexity": perplexity(codes, model.config.codes)}


def shifted(films: Float[Tensor, "b c h w"], most: int = SHIFT) -> Float[Tensor, "b c h w"]:
    """Each film moved by at most so many whole pixels, its edge repeated: never interpolated, never mirrored."""
    side = films.shape[-1]
    padded = functional.pad(films, (most,) * 4, mode="replicate")
    corners = torch.randint(0, 2 * most + 1, (len(films), 2)).tolist()
    return torch.stack([film[:, y : y + side, x : x + side] for film, (y, x) in zip(padded, corners, strict=True)])


def train(corpus: Corpus, preset: Preset, run: RunDirectory, resume: bool) -> None:
    """Train the VQ-GAN and write it into the model directory; the numbers recorded are those of the file as written.

    Raises:
        InputError: no split `train` or `val`, or no trained classifier, whose features the perceptual loss compares.
    """
    films, val = corpus.split("train"), corpus.split("val")
    classifier = FilmClassifier.load(run.model).to(processes.device())
    torch.manual_seed(preset.seed)
    training = VQGANTraining(films, val, preset, classifier.maps)
    run_loop("vqgan", training, run, epochs=preset.vqgan.epochs, seed=preset.seed, resume=resume)
    parts = ["vqgan"]
    if preset.vqgan.decoder_epochs:
        run_loop(DECODER, DecoderTraining(training), run, epochs=preset.vqgan.decoder_epochs, seed=preset.seed, resume=resume)
        parts.append(DECODER)
    path = run.model / "vqgan.safetensors"
    if processes.is_first():
        training.model.save(path)
        numbers = measure(VQGAN.load(path, preset.vqgan).to(processes.device()), val, preset.vqgan.batch)
        run.record("vqgan", {**numbers, "films": len(val), "seconds": sum(seconds_spent(run, part) for part in parts)})
    processes.wait()


def _stepped(optimizer: torch.optim.Optimizer, tensors: Sequence[Tensor], gradients: Sequence[Tensor]) -> float:
    """Take a step by gradients at some tensors; the norm of the parameters' own, before it is clipped."""
    optimizer.zero_grad()
    torch.autograd.backward(tensors, gradients)
    norm = torch.nn.utils.clip_grad_norm_([tensor for group in optimizer.param_groups for tensor in group["params"]], LARGEST_GRADIENT)
    optimizer.step()
    return float(norm)


def _window(side: int, crop: int) -> tuple[int, int, int]:
    """Top, left and side of a square at a random place."""
    crop = min(crop, side)
    top, left = torch.randint(0, side - crop + 1, (2,)).tolist()
    return top, left, crop
