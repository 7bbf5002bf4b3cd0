"""A vocabulary and a language model of toy width."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from cyclicxr.config import LanguageConfig
from cyclicxr.language.llm import LanguageModel
from cyclicxr.language.prompt import PHRASES
from cyclicxr.language.vocabulary import Vocabulary

REPORTS = [
    "The heart is normal in size. The lungs are clear.",
    "Small left pleural effusion. No pneumothorax.",
    "Cardiomegaly without edema. No acute bony abnormality.",
    "A pigtail catheter is placed in the lower right chest.",
]
TINY = LanguageConfig(vocabulary=320, width=32, layers=2, heads=2, context=128, dropout=0.0, max_report_tokens=24)


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    return Vocabulary.train(REPORTS * 3, TINY.vocabulary, 16, PHRASES)


@pytest.fixture
def model(vocabulary: Vocabulary) -> LanguageModel:
    """Random weights, large enough that its choices are not all the same."""
    torch.manual_seed(0)
    built = LanguageModel.build(vocabulary, TINY, 9).eval()
    for tensor in built.parameters():
        if tensor.ndim > 1:
            tensor.data *= 8
    return built


@pytest.fixture
def guided_by(vocabulary: Vocabulary, model: LanguageModel):
    """The same weights with other numbers for generation."""

    def build(**numbers: object) -> LanguageModel:
        return LanguageModel(model.model, vocabulary, dataclasses.replace(TINY, **numbers), 9).eval()

    return build
