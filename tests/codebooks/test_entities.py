from __future__ import annotations

import csv
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclicxr.codebooks import entities
from cyclicxr.codebooks.entities import GROUPS, LexiconExtractor, TransformerExtractor, affirmed_findings, extractor, findings_in
from cyclicxr.config import CodebooksConfig
from cyclicxr.types import InputError

STRUCTURE, DESCRIPTION, DISEASE, SIGN = GROUPS

# Sentences written for this test; a minus marks what the sentence denies.
SENTENCES = {
    "The heart is enlarged.": {("cardiomegaly", DISEASE)},
    "Heart size is normal.": {("heart size", STRUCTURE), ("normal", DESCRIPTION)},
    "The heart is not enlarged.": {("heart", STRUCTURE), ("-enlarged", DESCRIPTION)},
    "Small left effusion.": {("small", DESCRIPTION), ("left", DESCRIPTION), ("pleural effusion", DISEASE)},
    "Moderate bilateral pleural effusions are seen.": {
        ("moderate", DESCRIPTION),
        ("bilateral", DESCRIPTION),
        ("pleural effusion", DISEASE),
    },
    "No pleural effusion or pneumothorax.": {("-pleural effusion", DISEASE), ("-pneumothorax", DISEASE)},
    "There is no effusion, pneumothoraces, or consolidation.": {
        ("-pleural effusion", DISEASE),
        ("-pneumothorax", DISEASE),
        ("-consolidation", SIGN),
    },
    "No evidence of pericardial effusion.": {("-pericardial effusion", DISEASE)},
    "The lungs are clear.": {("lung", STRUCTURE), ("clear", DESCRIPTION)},
    "Lungs are clear of nodules.": {("lung", STRUCTURE), ("clear", DESCRIPTION), ("-nodule", SIGN)},
    "Both lungs are free of masses.": {("lung", STRUCTURE), ("-mass", SIGN)},
    "Negative for pneumonia.": {("-pneumonia", DISEASE)},
    "Left lower lobe opacity may represent pneumonia.": {("left lower lobe", STRUCTURE), ("opacity", SIGN), ("pneumonia", DISEASE)},
    "Pneumonia cannot be excluded.": {("pneumonia", DISEASE)},
    "Cannot exclude a nodule in the right apex.": {("nodule", SIGN), ("right apex", STRUCTURE)},
    "Atelectasis versus infiltrate.": {("atelectasis", DISEASE), ("infiltrate", SIGN)},
    "No change in the calcified granuloma.": {("stable", DESCRIPTION), ("granuloma", SIGN)},
    "No focal consolidation in the left lung.": {
        ("-focal", DESCRIPTION),
        ("-consolidation", SIGN),
        ("left lung", STRUCTURE),
    },
    "Mild cardiomegaly without pulmonary edema.": {("mild", DESCRIPTION), ("cardiomegaly", DISEASE), ("-pulmonary edema", DISEASE)},
    "No pneumothorax, but a small effusion remains.": {
        ("-pneumothorax", DISEASE),
        ("small", DESCRIPTION),
        ("pleural effusion", DISEASE),
    },
    "No pneumothorax.. Scarring in the lingula.": {("-pneumothorax", DISEASE), ("scarring", SIGN), ("lingula", STRUCTURE)},
    "The previous infiltrate has resolved.": {("-prior", DESCRIPTION), ("-infiltrate", SIGN), ("resolved", DESCRIPTION)},
    "Hyperexpanded lungs and emphysematous changes.": {("hyperinflation", SIGN), ("emphysema", DISEASE)},
    "Tortuosity of the thoracic aorta; no rib fractures.": {("tortuous aorta", SIGN), ("-rib fracture", DISEASE)},
    "Right-sided PICC line and sternotomy wires.": {("right", DESCRIPTION), ("central venous catheter", SIGN), ("sternotomy", SIGN)},
    "Blunted costophrenic sulci.": {("blunted", DESCRIPTION), ("costophrenic angle", STRUCTURE)},
    "Pneumonia is unlikely.": {("-pneumonia", DISEASE)},
    "CARDIOMEGALY WITH VASCULAR CONGESTION": {("cardiomegaly", DISEASE), ("vascular congestion", SIGN)},
    "Thank you for this referral.": set(),
    "": set(),
}


@pytest.fixture(scope="module")
def rules() -> LexiconExtractor:
    return LexiconExtractor()


@pytest.mark.parametrize("sentence", SENTENCES)
def test_entities_of_a_sentence(rules: LexiconExtractor, sentence: str) -> None:
    found = {(("-" if entity.negated else "") + entity.text, entity.group) for entity in rules.extract(sentence)}
    assert found == SENTENCES[sentence]


def test_a_denied_finding_is_marked_wherever_the_report_says_it(rules: LexiconExtractor) -> None:
    found = [(e.text, e.negated) for e in rules.extract("Left effusion. Right lung clear. No right effusion. Stable left effusion.")]
    assert [negated for text, negated in found if text == "pleural effusion"] == [False, True, False]


def test_offsets_are_those_of_the_text(rules: LexiconExtractor) -> None:
    text = "  Findings:\n\nsmall  LEFT lower lobe opacity—no effusions."
    assert [text[e.start : e.end] for e in rules.extract(text)] == ["small", "LEFT lower lobe", "opacity", "effusions"]


@given(st.text(max_size=200) | st.lists(st.sampled_from(["no", "left", "lung", "effusions", ".", ",", "¶", "opacity"])).map(" ".join))
def test_entities_lie_in_order_within_any_text(text: str) -> None:
    entities = extractor(CodebooksConfig()).extract(text)
    ends = [0] + [entity.end for entity in entities]
    assert all(end <= entity.start < entity.end <= len(text) for end, entity in zip(ends, entities, strict=False))
    assert all(entity.group in GROUPS for entity in entities)
    assert not any(entity.negated for entity in entities if entity.group == STRUCTURE)


def test_the_extractor_is_built_once() -> None:
    assert extractor(CodebooksConfig()) is extractor(CodebooksConfig(pairs=1))


MESH = {
    "cardiomegaly": "Cardiomegaly",
    "pleural effusion": "Pleural Effusion",
    "pneumothorax": "Pneumothorax",
    "atelectasis": "Pulmonary Atelectasis",
    "granuloma": "Calcified Granuloma",
    "scoliosis": "Scoliosis",
}


def test_what_reports_affirm_agrees_with_their_annotations(rules: LexiconExtractor, openi) -> None:
    """NLM's annotators and the rules read the same training reports: precision >= .75, recall >= .8 for each of six findings."""
    with (openi / "studies.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    said = [{entity.text for entity in rules.extract(row["report"]) if not entity.negated} for row in rows]
    annotated = [{term.split("/")[0] for term in row["mesh"].split(";")} for row in rows]
    for text, heading in MESH.items():
        ours = {i for i, terms in enumerate(said) if text in terms}
        theirs = {i for i, headings in enumerate(annotated) if heading in headings}
        assert len(ours & theirs) >= 0.75 * len(ours) and len(ours & theirs) >= 0.8 * len(theirs), text


LABELS = ["O"] + [f"{b}-{name}" for name in ("Biological_structure", "Disease_disorder", "Sign_symptom", "Age") for b in "BI"]


def test_findings_that_a_sentence_affirms() -> None:
    cfg = CodebooksConfig()
    assert affirmed_findings(cfg, "Cardiomegaly and a small effusion, no pneumothorax.") == {"cardiomegaly", "pleural effusion"}
    assert affirmed_findings(cfg, "The lungs are clear.") == frozenset()
    found = findings_in(cfg, "The left lung has a small effusion, no pneumothorax.")
    assert [(entity.text, entity.negated) for entity in found] == [("pleural effusion", False), ("pneumothorax", True)]


@pytest.fixture(scope="module")
def bioen(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A token-classification model in the published form whose weights are set by hand: a word's first piece decides its label."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import DistilBertConfig, DistilBertForTokenClassification, PreTrainedTokenizerFast

    pieces = {"left": "B-Biological_structure", "lung": "I-Biological_structure", "effusion": "B-Disease_disorder"}
    pieces |= {"cough": "B-Sign_symptom", "opac": "B-Sign_symptom", "##ities": "O", "adult": "B-Age", "no": "O", "with": "O"}
    vocabulary = {piece: i for i, piece in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *pieces])}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", model_max_length=32
    )
    size = len(vocabulary)
    config = DistilBertConfig(vocab_size=size, dim=size, n_heads=1, n_layers=1, hidden_dim=8, max_position_embeddings=32)
    config.id2label = dict(enumerate(LABELS))
    config.label2id = {label: i for i, label in enumerate(LABELS)}
    config.num_labels = len(LABELS)
    model = DistilBertForTokenClassification(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.fill_(1.0 if "norm" in name.lower() and name.endswith("weight") else 0.0)
        model.distilbert.embeddings.word_embeddings.weight.copy_(torch.eye(size))
        model.classifier.bias[0] = 1  # what no piece decides is "O"
        for piece, label in pieces.items():
            model.classifier.weight[LABELS.index(label), vocabulary[piece]] = 1
    folder = tmp_path_factory.mktemp("bioen")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_a_token_classification_model_gives_the_same_kind_of_entities(bioen: str) -> None:
    found = TransformerExtractor(bioen).extract("Adult with cough. No effusion left lung. Opacities.")
    assert [(e.text, e.group, e.negated, e.start, e.end) for e in found] == [
        ("cough", SIGN, False, 11, 16),
        ("pleural effusion", DISEASE, True, 21, 29),  # the lexicon's normal form; negated by the rules
        ("left lung", STRUCTURE, False, 30, 39),  # B then I: one entity
        ("opacity", SIGN, False, 41, 50),  # tagged by its first piece, "opac"
    ]


def test_a_token_classification_model_is_chosen_by_the_config(bioen: str) -> None:
    assert isinstance(extractor(CodebooksConfig(extractor=bioen)), TransformerExtractor)
    assert TransformerExtractor(bioen).extract(" \n ") == []


def test_a_model_without_the_four_groups_is_refused(bioen: str, tmp_path) -> None:
    import shutil

    folder = tmp_path / "other"
    shutil.copytree(bioen, folder)
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {str(i): f"B-X{i}" for i in range(len(LABELS))}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="Biological_structure"):
        TransformerExtractor(str(folder))


def test_a_missing_model_is_named(tmp_path) -> None:
    with pytest.raises(InputError, match="token-classification"):
        TransformerExtractor(str(tmp_path))


def test_a_text_of_many_sentences_is_read_part_by_part_to_the_same_entities(rules: LexiconExtractor, monkeypatch) -> None:
    text = "No pleural effusion; the heart is enlarged. Small left effusion! Is there edema? No. 2 ribs are broken. " * 3
    whole = rules.extract(text)
    monkeypatch.setattr(entities, "PART", 30)
    assert len(list(entities._parts(text))) > 6 and "".join(part for _, part in entities._parts(text)) == text
    assert rules.extract(text) == whole and len(whole) >= 12
    assert list(entities._parts("")) == []
