"""Published weights of a PVT -> our image encoder, whose patches then adapt; knows no film.

With the heads of AdaPatch still at the fixed grid, the encoder then gives the features of `transformers`' `PvtModel`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from transformers import PvtConfig
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from transformers.utils import cached_file

from cyclicxr.checkpoint import load_tensors, read_json
from cyclicxr.config import EncoderConfig
from cyclicxr.patches.encoder import SCALE, SHIFT, ImageEncoder, Stage
from cyclicxr.pretrained import load_pretrained
from cyclicxr.types import InputError

SETTING = "encoder.pretrained"
_SIZES = {  # key of their config -> ours
    "hidden_sizes": "widths",
    "depths": "attentions",
    "num_attention_heads": "heads",
    "sequence_reduction_ratios": "reductions",
    "mlp_ratios": "mlp_ratios",
}
_FIXED = ("patch_sizes", "strides", "num_channels", "hidden_act", "layer_norm_eps", "qkv_bias")  # no settings of ours: the class's defaults


def load_pvt(encoder: ImageEncoder) -> None:
    """Fill an encoder with the weights that its `pretrained` and `revision` name: of a `PvtModel` or `PvtForImageClassification`.

    Each 2 x 2 patch embedding becomes the fully connected layer f5 over the 2 x 2 sampled points. What a PVT does not have stays as it is:
    the heads f1 to f4 and the layer that looks at the fixed patch before them. The classifier's head is left out.

    Raises:
        InputError: it can't be loaded, is no PVT, holds no safetensors, or has other sizes than the encoder, by name.

    Source: section 4.1 (PVT-medium); docs/decisions/0035-pvt-to-the-letter.md.
    """
    cfg = encoder.config
    published = Published(cfg.pretrained, _image_size(cfg), load_tensors(_file(cfg, "model.safetensors")))
    mean, deviation = _normalisation(cfg)
    state = encoder.state_dict()
    for i, stage in enumerate(encoder.stages):
        assert isinstance(stage, Stage)
        found = _stem(published, cfg, mean, deviation) if i == 0 else _embedding(published, cfg, i)
        found |= _norms(published, cfg, i) | _positions(published, stage, cfg.widths[i], i) | _layers(published, stage, i)
        state |= {f"stages.{i}.{name}": tensor for name, tensor in found.items()}
    encoder.load_state_dict(state)


class Published:
    """The tensors of a published model by their names behind "pvt.encoder.", each asked for with the shape that it must have.

    Args:
        source: directory or hub id, for messages.
        size: pixels along a side of its images.
        tensors: as they were read.
    """

    def __init__(self, source: str, size: int, tensors: Mapping[str, Tensor]) -> None:
        self.source, self.size = source, size
        self.tensors = {name.removeprefix("pvt.").removeprefix("encoder."): tensor.float() for name, tensor in tensors.items()}

    def take(self, name: str, *shape: int) -> Float[Tensor, "*_"]:
        """One of them.

        Raises:
            InputError: it is not there, or has another shape.
        """
        if name not in self.tensors:
            raise InputError(f"{SETTING}: '{self.source}' has no '{name}'; give a whole model")
        if self.tensors[name].shape != shape:
            raise InputError(f"{SETTING}: '{self.source}' has '{name}' of shape {tuple(self.tensors[name].shape)}, not {shape}")
        return self.tensors[name]


def grey_weights(
    weight: Float[Tensor, "d 3 y x"], bias: Float[Tensor, " d"], mean: Sequence[float], deviation: Sequence[float]
) -> tuple[Float[Tensor, "d 1 y x"], Float[Tensor, " d"]]:
    """A first convolution over colours -> one over grey films that gives the same for a film with three equal channels.

    Theirs sees (g - mean_c) / deviation_c of a grey value g in [0, 1], ours z = (g - 0.5) / 0.25. With g = 0.25 z + 0.5 the weights
    become the sum over channels of 0.25 / deviation_c times theirs, and the rest, (0.5 - mean_c) / deviation_c, goes into the bias.

    Args:
        weight: without padding around the film.
        bias: of its outputs.
        mean: of each channel, that the published model subtracts.
        deviation: by which it divides.
    """
    m, s = (torch.tensor(values, dtype=weight.dtype).view(1, -1, 1, 1) for values in (mean, deviation))
    return (weight * (SCALE / s)).sum(dim=1, keepdim=True), bias + (weight * ((SHIFT - m) / s)).sum(dim=(1, 2, 3))


def resized_positions(positions: Float[Tensor, "m d"], side: int) -> Float[Tensor, "*_"]:
    """Position embeddings of a square grid -> those of another with `side` patches along a side, by bilinear interpolation as PVT's own."""
    old = math.isqrt(len(positions))
    if old == side:
        return positions
    laid = positions.t().reshape(1, -1, old, old)
    return functional.interpolate(laid, size=(side, side), mode="bilinear", align_corners=False).flatten(2)[0].t()


def _find(cfg: EncoderConfig, name: str) -> Path | None:
    options = {"filename": name, "_raise_exceptions_for_missing_entries": False}
    found = load_pretrained(cached_file, SETTING, cfg.pretrained, cfg.revision, **options)
    return Path(found) if found else None


def _file(cfg: EncoderConfig, name: str) -> Path:
    found = _find(cfg, name)
    if found is None:
        raise InputError(
            f"{SETTING}: '{cfg.pretrained}' has no {name}; give a whole local directory (weights are read from safetensors alone)"
        )
    return found


def _image_size(cfg: EncoderConfig) -> int:
    """Pixels along a side of the published model's images, once its other numbers are found to be the encoder's."""
    found = read_json(_file(cfg, "config.json"))
    kind = found.get("model_type") if isinstance(found, dict) else None
    if kind != "pvt":
        raise InputError(f"{SETTING}: '{cfg.pretrained}' is of type '{kind}', not 'pvt'; give a PvtModel or PvtForImageClassification")
    usual = PvtConfig().to_dict()
    theirs = {**usual, **found}
    wrong = [
        f"{name} {theirs[name]} where encoder.{ours} is {list(getattr(cfg, ours))}"
        for name, ours in _SIZES.items()
        if list(theirs[name]) != list(getattr(cfg, ours))
    ]
    wrong += [f"{name} {theirs[name]}, not {usual[name]}" for name in _FIXED if theirs[name] != usual[name]]
    if wrong:
        raise InputError(f"{SETTING}: '{cfg.pretrained}' has {'; '.join(wrong)}; set the encoder's numbers to the model's")
    return int(theirs["image_size"])


def _normalisation(cfg: EncoderConfig) -> tuple[list[float], list[float]]:
    """Means and deviations of the channels: of `preprocessor_config.json` where there is one, else ImageNet's."""
    found = _find(cfg, "preprocessor_config.json")
    said = read_json(found) if found else {}
    mean, deviation = said.get("image_mean", IMAGENET_DEFAULT_MEAN), said.get("image_std", IMAGENET_DEFAULT_STD)
    if len(mean) != 3 or len(deviation) != 3:
        raise InputError(f"{found}: image_mean {mean} and image_std {deviation} are not three numbers each")
    return list(mean), list(deviation)


def _stem(published: Published, cfg: EncoderConfig, mean: Sequence[float], deviation: Sequence[float]) -> dict[str, Tensor]:
    width = cfg.widths[0]
    weight, bias = published.take("patch_embeddings.0.projection.weight", width, 3, 4, 4), _bias(published, cfg, 0)
    grey, shifted = grey_weights(weight, bias, mean, deviation)
    return {"patches.weight": grey, "patches.bias": shifted}


def _embedding(published: Published, cfg: EncoderConfig, i: int) -> dict[str, Tensor]:
    """f5: AdaPatch lays its points out row by row, each with all its channels."""
    weight = published.take(f"patch_embeddings.{i}.projection.weight", cfg.widths[i], cfg.widths[i - 1], 2, 2)
    return {"patches.embed.weight": weight.permute(0, 2, 3, 1).flatten(1), "patches.embed.bias": _bias(published, cfg, i)}


def _bias(published: Published, cfg: EncoderConfig, i: int) -> Tensor:
    return published.take(f"patch_embeddings.{i}.projection.bias", cfg.widths[i])


def _norms(published: Published, cfg: EncoderConfig, i: int) -> dict[str, Tensor]:
    found = {f"norm.{kind}": published.take(f"patch_embeddings.{i}.layer_norm.{kind}", cfg.widths[i]) for kind in ("weight", "bias")}
    if i == 3:
        found |= {f"last_norm.{kind}": published.take(f"layer_norm.{kind}", cfg.widths[i]) for kind in ("weight", "bias")}
    return found


def _positions(published: Published, stage: Stage, width: int, i: int) -> dict[str, Tensor]:
    side, before = published.size // 2 ** (i + 2), int(i == 3)  # the class token's place comes first
    positions = published.take(f"patch_embeddings.{i}.position_embeddings", 1, side**2 + before, width)[0]
    found = {"position": resized_positions(positions[before:], stage.grid)}
    if stage.token is not None:
        found["token"] = published.take(f"patch_embeddings.{i}.cls_token", 1, 1, width)[0] + positions[:1]
    return found


def _layers(published: Published, stage: Stage, i: int) -> dict[str, Tensor]:
    ours = stage.attentions.state_dict()
    return {f"attentions.{name}": published.take(f"block.{i}.{name}", *tensor.shape) for name, tensor in ours.items()}
