"""Networks for FID: the features of the published code for the same weights, and files that are refused."""

import json

import pytest
import torch
from safetensors.torch import save_file
from transformers import Dinov2Config, Dinov2Model

from cyclicxr.data.phantom import draw_phantom
from cyclicxr.metrics.backbones import backbone
from cyclicxr.metrics.densenet import DenseNet
from cyclicxr.metrics.inception import InceptionV3
from cyclicxr.types import InputError

# first four features of the first film, last four of the second, sums of both
INCEPTION = ([0.26125, 0.0, 0.02655, 0.69448], [0.0, 0.35371, 0.0, 0.33525], [154.247, 154.265])
DENSENET = ([75.85983, 4.84263, 0.0, 0.0], [7.94541, 6.4034, 4.95121, 5.87975], [14128.633, 14241.516])


def fill(module):
    """Weights that follow from their names: the reference networks were given the same."""
    for name, tensor in sorted(module.state_dict().items()):
        if tensor.dtype.is_floating_point:
            wave = torch.sin(torch.arange(tensor.numel(), dtype=torch.float64) * (1.7 + len(name) % 7 / 10) + len(name))
            if tensor.dim() > 1:
                value = wave * (3 / tensor[0].numel()) ** 0.5
            else:
                value = 1 + wave / 4 if name.endswith(("weight", "var")) else wave / 10
            tensor.copy_(value.view(tensor.shape).float())
    return module


@pytest.fixture(scope="module")
def films():
    return torch.stack([torch.from_numpy(draw_phantom(seed, size=256).pixels) for seed in range(2)]).unsqueeze(1).float() / 255


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Files as they are published: all names of the network, its classifier too."""
    folder = tmp_path_factory.mktemp("backbones")
    save_file(fill(InceptionV3()).state_dict(), folder / "inception.safetensors")
    save_file(fill(DenseNet()).state_dict() | {"op_threshs": torch.zeros(18)}, folder / "xrv.safetensors")
    return folder


def test_inception_is_that_of_pytorch_fid(files, films):
    # Numbers: the FID InceptionV3 of pytorch-fid over torchvision 0.29's blocks, with these weights and films.
    with torch.inference_mode():
        found = backbone("Inception", files / "inception.safetensors")(films)
    assert found.shape == (2, 2048)
    assert found[0, :4].tolist() == pytest.approx(INCEPTION[0], abs=1e-4)
    assert found[1, -4:].tolist() == pytest.approx(INCEPTION[1], abs=1e-4)
    assert found.sum(1).tolist() == pytest.approx(INCEPTION[2], rel=1e-5)


def test_densenet_is_that_of_torchxrayvision(files, films):
    # Numbers: features2 of torchxrayvision 1.5.7's DenseNet, with these weights and films.
    with torch.inference_mode():
        found = backbone("XRV-DenseNet121", files / "xrv.safetensors")(films)
    assert found.shape == (2, 1024)
    assert found[0, :4].tolist() == pytest.approx(DENSENET[0], rel=1e-4, abs=1e-3)
    assert found[1, -4:].tolist() == pytest.approx(DENSENET[1], rel=1e-4, abs=1e-3)
    assert found.sum(1).tolist() == pytest.approx(DENSENET[2], rel=1e-5)


def test_published_files_have_as_many_tensors_and_numbers():
    inception, densenet = (module.state_dict() for module in (InceptionV3(), DenseNet()))
    assert (len(inception), sum(tensor.numel() for tensor in inception.values())) == (566, 23885486)
    assert len(densenet) == 727
    assert {"Mixed_7c.branch3x3dbl_3b.bn.running_var", "fc.weight"} < set(inception)
    assert {"features.denseblock4.denselayer16.conv2.weight", "features.transition3.norm.bias", "classifier.weight"} < set(densenet)


def test_counters_of_batches_may_lack(files, films, tmp_path):
    state = {name: tensor for name, tensor in fill(DenseNet()).state_dict().items() if not name.endswith("num_batches_tracked")}
    save_file(state, tmp_path / "old.safetensors")
    old, new = backbone("XRV-DenseNet121", tmp_path / "old.safetensors"), backbone("XRV-DenseNet121", files / "xrv.safetensors")
    with torch.inference_mode():
        assert torch.equal(old(films[:1]), new(films[:1]))


@pytest.fixture(scope="module")
def rad_dino(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rad-dino")
    torch.manual_seed(0)
    config = Dinov2Config(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14)
    Dinov2Model(config).eval().save_pretrained(folder)
    prepare = {"crop_size": {"height": 28, "width": 28}, "image_mean": [0.5307] * 3, "image_std": [0.2583] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(prepare))
    return folder


def test_rad_dino_takes_size_and_grey_levels_from_its_directory(rad_dino, films):
    network = Dinov2Model.from_pretrained(rad_dino).eval()
    with torch.inference_mode():
        found = backbone("RadDINO", rad_dino)(films[:, :, :28, :28])
        expected = network(((films[:, :, :28, :28] - 0.5307) / 0.2583).expand(-1, 3, -1, -1)).pooler_output
    assert found.shape == (2, 16)
    assert torch.allclose(found, expected, atol=1e-4)


def test_wrong_files_are_refused_by_name(files, rad_dino, tmp_path):
    (tmp_path / "weights.pth").write_bytes(b"\x80\x02not safetensors")
    (tmp_path / "empty").mkdir()
    save_file({"classifier.weight": torch.zeros(18, 3)}, tmp_path / "part.safetensors")
    half = fill(InceptionV3()).state_dict()
    half["fc.weight"] = half["fc.weight"][:1000].clone()
    save_file(half, tmp_path / "torchvision.safetensors")
    for name, path, why in [
        ("VGG", files / "inception.safetensors", "'VGG' is unknown; there are Inception"),
        ("Inception", tmp_path / "none.safetensors", "none.safetensors: no such file"),
        ("Inception", tmp_path / "weights.pth", "weights.pth: not safetensors; a .pth is a pickle"),
        ("Inception", tmp_path / "empty", "empty: not safetensors"),
        ("Inception", files / "xrv.safetensors", "xrv.safetensors: weights lack Conv2d_1a_3x3"),
        ("Inception", tmp_path / "torchvision.safetensors", r"another fc.weight \(1000, 2048\): not those of Inception"),
        ("XRV-DenseNet121", files / "inception.safetensors", "has no classifier.weight"),
        ("XRV-DenseNet121", tmp_path / "part.safetensors", "weights lack features.conv0.weight"),
        ("RadDINO", tmp_path / "empty", "empty: not a whole directory of microsoft/rad-dino"),
        ("RadDINO", files / "xrv.safetensors", "not a whole directory"),
    ]:
        with pytest.raises(InputError, match=why):
            backbone(name, path)


def test_a_directory_of_another_network_or_with_weights_that_lack_is_refused(rad_dino, tmp_path):
    for name in ("config.json", "preprocessor_config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((rad_dino / name).read_bytes())
    save_file({"layernorm.weight": torch.zeros(16)}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="weights lack"):
        backbone("RadDINO", tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit"}))
    with pytest.raises(InputError, match="of a 'vit'"):
        backbone("RadDINO", tmp_path)
