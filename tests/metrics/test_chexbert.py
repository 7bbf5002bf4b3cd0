"""CheXbert from a directory in Stanford's layout, at miniature size, against BERT and the heads run plainly."""

import json

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizer

from cyclicxr.checkpoint import save_tensors
from cyclicxr.metrics.chexbert import WEIGHTS, CheXbert
from cyclicxr.metrics.labels import BLANK, CLASSES
from cyclicxr.types import InputError

VOCABULARY = "[PAD] [UNK] [CLS] [SEP] [MASK] no effusion the heart is enlarged lungs clear . left".split()
SIZES = {"vocab_size": len(VOCABULARY), "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
SIZES |= {"initializer_range": 1.0}  # vectors of different texts are to differ
TEXTS = ["No effusion.", "The heart is\nenlarged. " * 200, "", "No  effusion.", "Left lungs clear"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chexbert")
    torch.manual_seed(0)
    bert = BertModel(BertConfig(**SIZES))
    tensors = {f"module.bert.{name}": tensor for name, tensor in bert.state_dict().items()}
    tensors["module.bert.embeddings.position_ids"] = torch.arange(512)[None]
    for i in range(14):
        states = 4 if i < 13 else 2
        tensors[f"module.linear_heads.{i}.weight"] = torch.randn(states, 8)
        tensors[f"module.linear_heads.{i}.bias"] = torch.randn(states)
    save_tensors(folder / WEIGHTS, tensors)
    (folder / "config.json").write_text(json.dumps(SIZES))
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    return folder, bert.eval(), tensors


def test_labels_are_those_of_bert_and_the_heads_run_plainly(directory):
    folder, bert, tensors = directory
    tokenizer = BertTokenizer(str(folder / "vocab.txt"))
    found = CheXbert.load(folder).label(TEXTS)
    for text, labels in zip(TEXTS, found, strict=True):
        if not text:
            assert (labels == BLANK).all()
            continue
        pieces = tokenizer(" ".join(text.split()), truncation=True, max_length=512, return_tensors="pt")
        with torch.no_grad():
            summary = bert(**pieces).last_hidden_state[0, 0]
        heads = [tensors[f"module.linear_heads.{i}.weight"] @ summary + tensors[f"module.linear_heads.{i}.bias"] for i in range(14)]
        assert labels.tolist() == [int(logits.argmax()) for logits in heads]
    assert len({tuple(row) for row in found}) > 2
    assert found.shape == (len(TEXTS), len(CLASSES))
    assert (found[0] == found[3]).all()
    assert found.dtype == np.int8


def test_a_wrong_or_incomplete_directory_is_refused(directory, tmp_path):
    folder, _, tensors = directory
    with pytest.raises(InputError, match=r"vocab\.txt"):
        CheXbert.load(tmp_path)
    for name in ("vocab.txt", "config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(InputError, match=WEIGHTS):
        CheXbert.load(tmp_path)
    save_tensors(tmp_path / WEIGHTS, {name: tensor for name, tensor in tensors.items() if "heads.13" not in name})
    with pytest.raises(InputError, match="is not CheXbert"):
        CheXbert.load(tmp_path)
