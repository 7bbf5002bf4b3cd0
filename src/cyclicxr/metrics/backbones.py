"""Networks that FID may be computed with beside our own classifier, each from the user's local weights; nothing is downloaded.

Weights are safetensors: a published pickle is turned into one once, where the user trusts it (docs/decisions/0031).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from cyclicxr.metrics.densenet import DenseNet
from cyclicxr.metrics.inception import InceptionV3
from cyclicxr.types import InputError

BACKBONES = ("Inception", "XRV-DenseNet121", "RadDINO")
Backbone = Callable[[Float[Tensor, "b 1 h w"]], Float[Tensor, "b d"]]


def backbone(name: str, path: Path) -> Backbone:
    """A network that gives features of films in [0, 1], in float32, ready for inference.

    Args:
        name: of `BACKBONES`. "Inception": pytorch-fid's `pt_inception-2015-12-05`; "XRV-DenseNet121": torchxrayvision's
            `densenet121-res224-*`; "RadDINO": a local directory of `microsoft/rad-dino` (Dinov2 with its `preprocessor_config.json`).
        path: a safetensors file of the network's state dict; for "RadDINO" the directory.

    Raises:
        InputError: an unknown name, no such file, not safetensors, or weights of another network.
    """
    if name not in BACKBONES:
        raise InputError(f"backbone '{name}' is unknown; there are {', '.join(BACKBONES)}")
    if not path.exists():
        raise InputError(f"{path}: no such file; give local weights of {name} as {name}=PATH")
    if name == "RadDINO":
        return _rad_dino(path)
    tensors = _weights(name, path)
    network: nn.Module = InceptionV3() if name == "Inception" else DenseNet(_findings(path, tensors))
    return _filled(network, tensors, name, path)


class _RadDino(nn.Module):
    """A Dinov2 with the size and the grey levels that its directory names; its feature is the class token after the last norm."""

    def __init__(self, network: nn.Module, side: int, mean: list[float], deviation: list[float]) -> None:
        super().__init__()
        self.network, self.side = network, side
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor(deviation).view(1, 3, 1, 1))

    def forward(self, films: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b d"]:
        """Films in [0, 1], stretched to the network's square (bicubic, antialiased)."""
        x = functional.interpolate(films, size=(self.side, self.side), mode="bicubic", align_corners=False, antialias=True)
        pixels = (x.clamp(0, 1).expand(-1, 3, -1, -1) - self.get_buffer("mean")) / self.get_buffer("deviation")
        found: Tensor = self.network(pixel_values=pixels).pooler_output
        return found


def _rad_dino(directory: Path) -> Backbone:
    from transformers import Dinov2Model

    try:
        prepare = json.loads((directory / "preprocessor_config.json").read_text(encoding="utf-8"))
        size = prepare.get("crop_size") or prepare["size"]
        side = int(size["height"])
        kind = json.loads((directory / "config.json").read_text(encoding="utf-8")).get("model_type")
        if kind != "dinov2":
            raise InputError(f"{directory}: config.json is of a '{kind}', not of a dinov2; give a directory of microsoft/rad-dino")
        network, report = Dinov2Model.from_pretrained(directory, local_files_only=True, use_safetensors=True, output_loading_info=True)
        mean, deviation = prepare["image_mean"], prepare["image_std"]
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{directory}: not a whole directory of microsoft/rad-dino ({reason}); download it again") from None
    if report["missing_keys"]:
        raise InputError(f"{directory}: weights lack {sorted(report['missing_keys'])[0]}; give a directory of microsoft/rad-dino")
    return _RadDino(network, side, mean, deviation).eval().requires_grad_(False)


def _weights(name: str, path: Path) -> dict[str, Tensor]:
    try:
        return {key: tensor.float() for key, tensor in load_file(path).items()}
    except (SafetensorError, OSError):
        raise InputError(
            f"{path}: not safetensors; a .pth is a pickle, which is never opened: save the state dict of {name} with safetensors once"
        ) from None


def _findings(path: Path, tensors: dict[str, Tensor]) -> int:
    if "classifier.weight" not in tensors:
        raise InputError(f"{path}: has no classifier.weight; give the state dict of a torchxrayvision densenet121-res224-* model")
    return len(tensors["classifier.weight"])


def _filled(network: nn.Module, tensors: dict[str, Tensor], name: str, path: Path) -> Backbone:
    """The network with these weights; counters of batches and a classifier's thresholds do not matter."""
    wanted = network.state_dict()
    reasons = [f"lack {key}" for key in wanted if key not in tensors and not key.endswith("num_batches_tracked")]
    reasons += [f"hold {key}" for key in tensors if key not in wanted and key != "op_threshs"]
    known = {key: tensor for key, tensor in tensors.items() if key in wanted}
    reasons += [f"have another {key} {tuple(tensor.shape)}" for key, tensor in known.items() if tensor.shape != wanted[key].shape]
    if reasons:
        raise InputError(f"{path}: weights {reasons[0]}: not those of {name}; give its published state dict")
    network.load_state_dict(known, strict=False)
    return network.eval().requires_grad_(False)
