"""CheXbert's labels of reports, from Stanford's published weights in a local directory; downloads nothing and knows no table.

The directory holds `config.json` and `vocab.txt` of BERT-base (uncased) and `chexbert.safetensors`. Stanford publishes a pickle, which
is never opened here; its tensors are written once, where that file is trusted, by

    import torch; from safetensors.torch import save_file
    state = torch.load("chexbert.pth", map_location="cpu", weights_only=True)["model_state_dict"]
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, "chexbert.safetensors")

Source: Smit et al., CheXbert (EMNLP 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int8
from torch import Tensor, nn

from cyclicxr.checkpoint import load_tensors, read_json
from cyclicxr.metrics.labels import BLANK, CLASSES, STATES
from cyclicxr.types import InputError

WEIGHTS = "chexbert.safetensors"
_BATCH, _LONGEST = 32, 512  # reports at once; word pieces of one
_UNUSED = ("position_ids",)  # buffers that older transformers stored


class CheXbert(nn.Module):
    """BERT and a linear head a label on its [CLS] vector: 13 of four states, "No Finding" of two; made by `load`.

    Args:
        bert: transformers' BertModel.
        tokenizer: of its vocabulary.
    """

    def __init__(self, bert: Any, tokenizer: Any) -> None:
        super().__init__()
        self.bert, self._tokenizer = bert, tokenizer
        width = bert.config.hidden_size
        self.linear_heads = nn.ModuleList([*(nn.Linear(width, len(STATES)) for _ in CLASSES[:-1]), nn.Linear(width, 2)])

    @classmethod
    def load(cls, directory: Path) -> CheXbert:
        """Load the weights of a directory.

        Raises:
            InputError: a file is missing, or is not CheXbert's.
        """
        from transformers import BertConfig, BertModel, BertTokenizer

        vocabulary = directory / "vocab.txt"
        if not vocabulary.is_file():
            raise InputError(f"{vocabulary}: no such file; put config.json and vocab.txt of BERT-base (uncased) beside {WEIGHTS}")
        found = load_tensors(directory / WEIGHTS)
        model = cls(BertModel(BertConfig(**read_json(directory / "config.json"))), BertTokenizer(str(vocabulary)))
        tensors = {name.removeprefix("module."): tensor for name, tensor in found.items() if not name.endswith(_UNUSED)}
        try:
            model.load_state_dict(tensors)
        except RuntimeError as error:
            reason = str(error).splitlines()[1].strip()
            raise InputError(f"{directory / WEIGHTS}: is not CheXbert with the config.json beside it ({reason[:200]})") from None
        return model.eval().requires_grad_(False)

    def forward(self, ids: Tensor, mask: Tensor) -> list[Float[Tensor, "b s"]]:
        """Logits of each label's states from word pieces (b, t)."""
        summary = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]
        return [head(summary) for head in self.linear_heads]

    @torch.inference_mode()
    def label(self, texts: Sequence[str]) -> Int8[np.ndarray, "n 14"]:
        """Labels of each report, numbered as `labels.STATES`; a report without words has none. Equal reports are read once."""
        plain = [" ".join(text.split()) for text in texts]
        distinct = sorted({text for text in plain if text}, key=len)
        found = {"": np.full(len(CLASSES), BLANK, dtype=np.int8)}
        for start in range(0, len(distinct), _BATCH):
            batch = distinct[start : start + _BATCH]
            pieces = self._tokenizer(batch, padding=True, truncation=True, max_length=_LONGEST, return_tensors="pt")
            states = torch.stack([logits.argmax(1) for logits in self(pieces["input_ids"], pieces["attention_mask"])], dim=1)
            found |= dict(zip(batch, states.to(torch.int8).numpy(), strict=True))
        return np.stack([found[text] for text in plain])
