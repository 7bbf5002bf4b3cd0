"""Findings of a film from the image encoder: the classification pre-training of the paper (4.1). Knows labels, not words.

Its pooled features also measure drawn films (FID), and its maps are the VQ-GAN's perceptual features.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cyclicxr.checkpoint import load_weights, read_json, read_preset, save_tensors, write_json
from cyclicxr.config import EncoderConfig
from cyclicxr.patches.encoder import ImageEncoder, StagePatches
from cyclicxr.patches.pvt import load_pvt

CLASSIFIER, FINDINGS = "classifier.safetensors", "findings.json"


class FilmClassifier(nn.Module):
    """Film -> a logit a finding.

    Args:
        config: of the image encoder.
        findings: names, in the order of the logits.
        dropout: before the head.
    """

    def __init__(self, config: EncoderConfig, findings: Sequence[str], dropout: float = 0.0) -> None:
        super().__init__()
        self.findings = tuple(findings)
        self.encoder = ImageEncoder(config)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(config.widths[2] + config.widths[3], len(self.findings))

    def features(self, pixels: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b d"]:
        """Means over the patches of stages 3 and 4, side by side; float32."""
        return _pool(self.encoder(pixels))

    def forward(self, pixels: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b f"]:
        """Films in [0, 1] -> logits."""
        logits: Tensor = self.head(self.dropout(self.features(pixels)))
        return logits

    def maps(self, pixels: Float[Tensor, "b 1 h w"]) -> list[Float[Tensor, "b _c _y _x"]]:
        """Features of stages 1 to 3 laid out on their grids, 1/4, 1/8 and 1/16 of the film."""
        return [stage.as_map() for stage in self.encoder(pixels)[:3]]

    def save(self, directory: Path) -> None:
        """Write the weights (float16) and the names of the findings."""
        save_tensors(directory / CLASSIFIER, self.state_dict(), half=True)
        write_json(directory / FINDINGS, list(self.findings))

    @classmethod
    def build(cls, config: EncoderConfig, findings: Sequence[str], dropout: float) -> FilmClassifier:
        """A classifier to be trained, on new weights or on those that `config.pretrained` names.

        Raises:
            InputError: they can't be loaded, or do not fit.
        """
        classifier = cls(config, findings, dropout)
        if config.pretrained:
            load_pvt(classifier.encoder)
        return classifier

    @classmethod
    def load(cls, directory: Path) -> FilmClassifier:
        """Read what `save` wrote into a model directory, ready for inference.

        Raises:
            InputError: a file is missing or broken.
        """
        classifier = cls(read_preset(directory).encoder, read_json(directory / FINDINGS))
        load_weights(classifier, directory / CLASSIFIER)
        return classifier.eval().requires_grad_(False)


def _pool(stages: list[StagePatches]) -> Float[Tensor, "b d"]:
    return torch.cat([stage.features.float().mean(dim=1) for stage in stages[2:]], dim=1)
