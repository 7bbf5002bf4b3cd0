"""The classifier: pooled features, feature maps on their grids, and its two files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cyclicxr.checkpoint import write_preset
from cyclicxr.config import EncoderConfig, Preset, VQGANConfig
from cyclicxr.patches.classifier import FilmClassifier
from cyclicxr.types import InputError

TOY = EncoderConfig(size=64, widths=(4, 8, 8, 12), convolutions=(1, 1, 1, 0), attentions=(0, 0, 0, 1), heads=(1, 2, 2, 3))
FINDINGS = ("cardiomegaly", "effusion", "normal")


@pytest.fixture
def classifier() -> FilmClassifier:
    torch.manual_seed(0)
    return FilmClassifier(TOY, FINDINGS, dropout=0.5).eval()


def test_features_are_the_means_of_the_last_two_stages(classifier: FilmClassifier):
    films = torch.rand(2, 1, 64, 64)
    stages = classifier.encoder(films)
    by_hand = torch.cat([stages[2].features.mean(dim=1), stages[3].features.mean(dim=1)], dim=1)
    torch.testing.assert_close(classifier.features(films), by_hand)
    torch.testing.assert_close(classifier(films), classifier.head(by_hand))


def test_maps_are_a_quarter_an_eighth_and_a_sixteenth_of_the_film(classifier: FilmClassifier):
    films = torch.rand(2, 1, 64, 64)
    assert [tuple(part.shape) for part in classifier.maps(films)] == [(2, 4, 16, 16), (2, 8, 8, 8), (2, 8, 4, 4)]
    torch.testing.assert_close(classifier.maps(films)[2][:, :, 1, 3], classifier.encoder(films)[2].features[:, 7])


def test_a_saved_classifier_comes_back_frozen(classifier: FilmClassifier, tmp_path: Path):
    write_preset(tmp_path, Preset(encoder=TOY, vqgan=VQGANConfig()))
    classifier.save(tmp_path)
    again = FilmClassifier.load(tmp_path)
    films = torch.rand(2, 1, 64, 64)
    assert again.findings == FINDINGS
    assert not again.training and not any(tensor.requires_grad for tensor in again.parameters())
    torch.testing.assert_close(again(films), classifier(films), atol=5e-3, rtol=5e-3)  # float16 on disk


def test_a_directory_without_a_classifier_is_refused(tmp_path: Path):
    write_preset(tmp_path, Preset(encoder=TOY))
    with pytest.raises(InputError, match=r"findings\.json"):
        FilmClassifier.load(tmp_path)
