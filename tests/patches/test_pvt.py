"""PVT's published weights: with the heads at the fixed grid our encoder gives the features of `transformers`' PVT."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional
from transformers import BertConfig, BertModel, PvtConfig, PvtForImageClassification, PvtModel

from cyclicxr.config import EncoderConfig
from cyclicxr.patches.classifier import FilmClassifier
from cyclicxr.patches.encoder import ImageEncoder
from cyclicxr.patches.pvt import grey_weights, load_pvt, resized_positions
from cyclicxr.types import InputError

MEAN, DEVIATION = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])  # ImageNet's
CONFIG = EncoderConfig(
    size=64,
    stem="patch",
    widths=(8, 12, 16, 24),
    convolutions=(0, 0, 0, 0),
    attentions=(1, 2, 2, 2),
    heads=(1, 2, 4, 6),
    mlp_ratios=(8, 8, 4, 4),
    offset_scale=1.0,
    size_scale=1.0,
)


def published(folder: Path, kind: type = PvtModel, **numbers: object) -> Path:
    """A small PVT with random weights, none of them 0, as it would be published."""
    torch.manual_seed(0)
    sizes = {
        "hidden_sizes": [8, 12, 16, 24],
        "depths": [1, 2, 2, 2],
        "num_attention_heads": [1, 2, 4, 6],
        "mlp_ratios": [8, 8, 4, 4],
        "image_size": 64,
        **numbers,
    }
    model = kind(PvtConfig(**sizes))
    for tensor in model.parameters():
        torch.nn.init.normal_(tensor, std=0.3)
    model.save_pretrained(folder)
    return folder


def ours(folder: Path, config: EncoderConfig = CONFIG) -> ImageEncoder:
    torch.manual_seed(1)
    encoder = ImageEncoder(dataclasses.replace(config, pretrained=str(folder))).eval()
    load_pvt(encoder)
    return encoder


@torch.no_grad()
def features_of(folder: Path, films: Tensor, mean: Tensor = MEAN, deviation: Tensor = DEVIATION) -> list[Tensor]:
    """The reference's features of all four stages for a film shown in three equal channels; the class token is no patch."""
    colours = (films.expand(-1, 3, -1, -1) - mean.view(1, 3, 1, 1)) / deviation.view(1, 3, 1, 1)
    model = PvtModel.from_pretrained(folder).eval()
    states = model(colours, output_hidden_states=True).hidden_states  # behind each layer, and behind the last norm
    ends = [sum(model.config.depths[: i + 1]) - 1 for i in range(3)]
    last_norm = states[-1][:, 1:]
    return [*(states[i] for i in ends), last_norm]


@pytest.mark.parametrize("kind", [PvtModel, PvtForImageClassification])
@pytest.mark.parametrize("adaptive", [True, False])
@torch.no_grad()
def test_all_four_stages_are_the_references(tmp_path: Path, kind: type, adaptive: bool):
    folder, films = published(tmp_path / "pvt", kind), torch.rand(2, 1, 64, 64)
    found = ours(folder, dataclasses.replace(CONFIG, adaptive=adaptive))(films)
    expected = features_of(folder, films)
    assert [tuple(part.shape) for part in expected] == [(2, 256, 8), (2, 64, 12), (2, 16, 16), (2, 4, 24)]
    for stage, theirs in zip(found, expected, strict=True):
        assert theirs.std() > 0.1
        torch.testing.assert_close(stage.features, theirs, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_normalisation_that_is_published_beside_the_weights_counts(tmp_path: Path):
    folder, films = published(tmp_path / "pvt"), torch.rand(1, 1, 64, 64)
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}))
    expected = features_of(folder, films, torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.4, 0.5, 0.6]))
    for stage, theirs in zip(ours(folder)(films), expected, strict=True):
        torch.testing.assert_close(stage.features, theirs, atol=1e-5, rtol=1e-5)


def test_grey_weights_by_hand():
    """Weights 1, 2, 3 over channels of mean 0, .5, 1 and deviation 1, .5, .25, bias 10. A film of grey .75 gives
    1 * .75 + 2 * (.25 / .5) + 3 * (-.25 / .25) + 10 = 8.75; ours sees z = (.75 - .5) / .25 = 1.
    Weight: .25 * (1 / 1 + 2 / .5 + 3 / .25) = 4.25. Bias: 10 + 1 * .5 + 2 * 0 + 3 * (-.5 / .25) = 4.5."""
    weight, bias = grey_weights(torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1), torch.tensor([10.0]), [0.0, 0.5, 1.0], [1.0, 0.5, 0.25])
    torch.testing.assert_close(weight, torch.full((1, 1, 1, 1), 4.25))
    torch.testing.assert_close(bias, torch.tensor([4.5]))


def test_grey_weights_of_a_first_convolution():
    torch.manual_seed(0)
    convolution, films = torch.nn.Conv2d(3, 5, 4, stride=4), torch.rand(2, 1, 16, 16)
    theirs = convolution((films.expand(-1, 3, -1, -1) - MEAN.view(1, 3, 1, 1)) / DEVIATION.view(1, 3, 1, 1))
    weight, bias = grey_weights(convolution.weight, convolution.bias, MEAN.tolist(), DEVIATION.tolist())
    torch.testing.assert_close(functional.conv2d((films - 0.5) / 0.25, weight, bias, stride=4), theirs, atol=1e-5, rtol=0)


def test_positions_of_another_grid_by_hand():
    """From 2 x 2 to 4 x 4: the outer rows repeat the edge, the inner ones lie at a quarter and three quarters between."""
    found = resized_positions(torch.tensor([[0.0], [4.0], [8.0], [12.0]]), 4).view(4, 4)
    assert found[0].tolist() == [0.0, 1.0, 3.0, 4.0] and found[:, 0].tolist() == [0.0, 2.0, 6.0, 8.0]
    kept = torch.randn(9, 2)
    assert resized_positions(kept, 3) is kept


@torch.no_grad()
def test_films_of_another_size_take_interpolated_positions(tmp_path: Path):
    """A plane over the grid stays that plane, and the encoder runs."""
    folder = published(tmp_path / "pvt")
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if name.endswith("patch_embeddings.1.position_embeddings"))
    rows, columns = torch.meshgrid((torch.arange(8) + 0.5) / 8, (torch.arange(8) + 0.5) / 8, indexing="ij")
    tensors[name] = (10 * rows + columns).view(1, 64, 1).repeat(1, 1, 12)
    save_file(tensors, folder / "model.safetensors")
    encoder = ours(folder, dataclasses.replace(CONFIG, size=96))
    laid = encoder.stages[1].position.view(12, 12, 12)[1:-1, 1:-1]  # behind the outermost centres the edge is repeated
    centres = ((torch.arange(12) + 0.5) / 12)[1:-1]
    torch.testing.assert_close(laid[..., 0], 10 * centres[:, None] + centres[None, :], atol=1e-5, rtol=0)
    assert [tuple(stage.features.shape) for stage in encoder(torch.rand(1, 1, 96, 96))] == [
        (1, 576, 8),
        (1, 144, 12),
        (1, 36, 16),
        (1, 9, 24),
    ]


def test_what_a_pvt_does_not_have_stays_as_it_was(tmp_path: Path):
    folder = published(tmp_path / "pvt")
    torch.manual_seed(1)
    new = ImageEncoder(CONFIG).state_dict()
    loaded = ours(folder).state_dict()
    kept = {name for name in new if torch.equal(new[name], loaded[name])}
    assert kept == {f"stages.{i}.patches.{part}.{kind}" for i in (1, 2, 3) for part in ("look", "heads") for kind in ("weight", "bias")}


@torch.no_grad()
def test_once_the_heads_learn_the_features_leave_the_references(tmp_path: Path):
    folder, films = published(tmp_path / "pvt"), torch.rand(1, 1, 64, 64)
    encoder = ours(folder)
    torch.nn.init.normal_(encoder.stages[1].patches.heads.weight)
    assert not torch.allclose(encoder(films)[1].features, features_of(folder, films)[1], atol=0.1)


def test_a_classifier_is_built_on_top(tmp_path: Path):
    folder = published(tmp_path / "pvt", PvtForImageClassification)
    config = dataclasses.replace(CONFIG, pretrained=str(folder))
    built = FilmClassifier.build(config, ["effusion", "normal"], 0.0).eval()
    films = torch.rand(2, 1, 64, 64)
    torch.testing.assert_close(built.encoder(films)[2].features, features_of(folder, films)[2], atol=1e-5, rtol=1e-5)
    built(films).sum().backward()
    assert [name for name, tensor in built.named_parameters() if tensor.grad is None] == []


def refused(folder: Path, config: EncoderConfig = CONFIG) -> str:
    with pytest.raises(InputError) as caught:
        ours(folder, config)
    assert "\n" not in str(caught.value) and "encoder.pretrained" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({"widths": (8, 12, 20, 24)}, r"hidden_sizes [8, 12, 16, 24] where encoder.widths is [8, 12, 20, 24]"),
        ({"attentions": (1, 2, 1, 2)}, r"depths [1, 2, 2, 2] where encoder.attentions is [1, 2, 1, 2]"),
        ({"heads": (1, 2, 4, 4)}, r"num_attention_heads [1, 2, 4, 6] where encoder.heads is [1, 2, 4, 4]"),
        ({"reductions": (8, 4, 1, 1)}, r"sequence_reduction_ratios [8, 4, 2, 1] where encoder.reductions is [8, 4, 1, 1]"),
        ({"mlp_ratios": (4, 8, 4, 4)}, r"mlp_ratios [8, 8, 4, 4] where encoder.mlp_ratios is [4, 8, 4, 4]"),
    ],
)
def test_other_sizes_are_refused_by_name(tmp_path: Path, numbers: dict[str, object], said: str):
    assert said in refused(published(tmp_path / "pvt"), dataclasses.replace(CONFIG, **numbers))


@pytest.mark.parametrize(
    ("numbers", "said"), [({"hidden_act": "relu"}, "hidden_act relu, not gelu"), ({"num_channels": 1}, "num_channels 1, not 3")]
)
def test_what_is_no_setting_of_ours_is_refused_by_name(tmp_path: Path, numbers: dict[str, object], said: str):
    assert said in refused(published(tmp_path / "pvt", **numbers))


def test_weights_that_do_not_fit_their_own_config_are_refused_by_name(tmp_path: Path):
    folder = published(tmp_path / "pvt")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "image_size": 96}))
    assert "'patch_embeddings.0.position_embeddings' of shape (1, 256, 8), not (1, 576, 8)" in refused(folder)
    (folder / "config.json").write_text(json.dumps(config))
    tensors = load_file(folder / "model.safetensors")
    save_file({name: tensor for name, tensor in tensors.items() if "block.2.1.mlp.dense1.bias" not in name}, folder / "model.safetensors")
    assert "has no 'block.2.1.mlp.dense1.bias'" in refused(folder)


def test_a_directory_that_is_no_pvt_is_refused(tmp_path: Path):
    BertModel(BertConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)).save_pretrained(
        tmp_path / "bert"
    )
    assert "is of type 'bert', not 'pvt'" in refused(tmp_path / "bert")
    (tmp_path / "bert" / "config.json").write_text("[]")
    assert "is of type 'None', not 'pvt'" in refused(tmp_path / "bert")


def test_a_directory_without_safetensors_is_refused(tmp_path: Path):
    folder = published(tmp_path / "pvt")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "has no model.safetensors" in refused(folder)
    (folder / "config.json").unlink()
    assert "has no config.json" in refused(folder)


def test_a_truncated_file_is_refused(tmp_path: Path):
    folder = published(tmp_path / "pvt")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"model\.safetensors: not a whole safetensors file"):
        ours(folder)


def test_a_hub_id_needs_its_revision():
    assert "'Zetatech/pvt-medium-224' is no directory" in refused(Path("Zetatech/pvt-medium-224"))


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({"stem": "conv"}, "need encoder.stem 'patch'"),
        ({"convolutions": (0, 1, 0, 0)}, "set encoder.convolutions to 0"),
        ({"points": 3}, "set encoder.points to 2"),
    ],
)
def test_settings_that_no_pvt_fits_are_refused_before_anything_is_read(numbers: dict[str, object], said: str):
    with pytest.raises(InputError, match=said):
        dataclasses.replace(CONFIG, pretrained="anywhere", **numbers)


def test_stage_4_is_not_reduced_beside_a_class_token():
    with pytest.raises(InputError, match=r"encoder\.reductions"):
        dataclasses.replace(CONFIG, reductions=(8, 4, 2, 2))
