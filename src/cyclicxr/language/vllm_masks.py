"""`serving.mask` for each request of a vLLM server that asks for it; the one module that imports vLLM.

`vllm serve MODEL/llm --logits-processors cyclicxr.language.vllm_masks:Masks`, and in the request `"vllm_xargs": {"cyclicxr": "draw"}`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor
from vllm.v1.sample.logits_processor import AdapterLogitsProcessor

from cyclicxr.language.serving import DRAW, REPORT, mask, rules

ARGUMENT = "cyclicxr"


class Masks(AdapterLogitsProcessor):  # type: ignore[misc]
    """A logits processor as vLLM's engine V1 takes it; requests without the argument are left alone."""

    def __init__(self, vllm_config: Any, device: Any, is_pin_memory: bool) -> None:
        super().__init__(vllm_config, device, is_pin_memory)
        self.rules = rules(Path(vllm_config.model_config.model))

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        """Refuse a request that asks for another mask.

        Raises:
            ValueError: the argument is neither "report" nor "draw".
        """
        asked = _asked(sampling_params)
        if asked not in (None, REPORT, DRAW):
            raise ValueError(f"{ARGUMENT}: '{asked}' is neither '{REPORT}' nor '{DRAW}'")

    def is_argmax_invariant(self) -> bool:
        return False

    def new_req_logits_processor(self, params: Any) -> Callable[[list[int], Tensor], Tensor] | None:
        """The mask of a new request."""
        asked = _asked(params)
        return None if asked is None else partial(mask, self.rules[asked])


def _asked(params: Any) -> str | None:
    found: str | None = (params.extra_args or {}).get(ARGUMENT)
    return found
