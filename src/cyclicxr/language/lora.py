"""Low-rank adaptation of a pretrained GPT-NeoX by peft: few weights are trained, and none of it shows in what is saved."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import GPTNeoXForCausalLM

from cyclicxr.types import InputError

LAYERS = ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h")  # all matrices of a layer
SCALE = 2  # [ours] alpha / rank: W + SCALE B A
_ADAPTER = "default"  # peft's name


def adapt(model: GPTNeoXForCausalLM, rank: int, tokens: Int[Tensor, " t"]) -> None:
    """Freeze a model and add, in place, what is trained instead.

    Beside the matrices A (rank, i) and B (o, rank) of every linear layer these are the rows of some tokens in the embeddings and in the
    output layer: tokens that the model never saw can't be learned by layers that only see their embeddings. Tied rows stay tied.

    Args:
        model: the pretrained model, its embeddings resized.
        rank: of A and B, > 0.
        tokens: ids whose rows are trained.

    Raises:
        InputError: peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise InputError("language.lora_rank: LoRA needs peft; pip install 'cyclicxr[lora]', or set it to 0") from None
    names = {module: name for name, module in model.named_modules()}
    rows = {names[ends]: tokens.tolist() for ends in (model.get_input_embeddings(), model.get_output_embeddings())}
    cfg = LoraConfig(r=rank, lora_alpha=SCALE * rank, target_modules=list(LAYERS), trainable_token_indices=rows)
    inject_adapter_in_model(cfg, model, adapter_name=_ADAPTER)


def merged(weights: Mapping[str, Tensor], tokens: Int[Tensor, " t"]) -> dict[str, Tensor]:
    """The `state_dict` of an adapted model -> that of the plain model which computes the same: W + SCALE B A, and the trained rows.

    Args:
        weights: by peft's names; names without adapters stay.
        tokens: ids whose rows were trained.
    """
    plain: dict[str, Tensor] = {}
    joined: dict[int, Tensor] = {}  # tied tensors stay one tensor
    for name, tensor in weights.items():
        layer, _, part = name.partition(".base_layer.")
        if layer.endswith(".token_adapter"):
            rows = weights[f"{layer}.trainable_tokens_delta.{_ADAPTER}"]
            if tensor.data_ptr() not in joined:
                joined[tensor.data_ptr()] = tensor.index_copy(0, tokens.to(tensor.device), rows)
            plain[f"{layer.removesuffix('.token_adapter')}.{part}"] = joined[tensor.data_ptr()]
        elif part == "weight":
            a, b = (weights[f"{layer}.lora_{side}.{_ADAPTER}.weight"] for side in "AB")
            plain[f"{layer}.weight"] = torch.addmm(tensor, b, a, alpha=SCALE)
        elif part:
            plain[f"{layer}.{part}"] = tensor
        elif ".lora_" not in name and ".trainable_tokens_" not in name:
            plain[name] = tensor
    return plain


def plain(model: GPTNeoXForCausalLM) -> GPTNeoXForCausalLM:
    """The model itself, or of an adapted one the plain architecture, without weights, that `merged` weights fit."""
    if not hasattr(model, "peft_config"):
        return model
    with torch.device("meta"):
        architecture = GPTNeoXForCausalLM(model.config)
    architecture.generation_config = model.generation_config
    return architecture
