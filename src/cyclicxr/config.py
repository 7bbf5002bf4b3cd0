"""One frozen dataclass a stage, and the presets. Every default names its source; `paper` and `openi-small` are two sets of numbers
for the same code.

Tags: [paper 4.1] is printed there; [Fig. n], [Eq. n] likewise; [taming], [LLM-CXR], [PVT] are the code the paper builds on; [ours]
is our choice where the paper is silent, made on the validation split.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, TypeVar

from cyclicxr.types import FITS, InputError

C = TypeVar("C")

WEIGHTS = ("float32", "bfloat16", "int8")  # of a language model that writes and draws
READERS = ("film", "patch")  # of a keyword: `codebooks/textual.py`
HINTS = ("film", "report")  # where the keywords come from that a report is learned with
SIMILARITIES = ("maxsim", "pooled", "attention")  # of a film and a report: `match/peers.py`


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise InputError(message)


@dataclass(frozen=True)
class EncoderConfig:
    """The four-stage image encoder with AdaPatch in stages 2, 3, 4 (section 3.1)."""

    size: int = 256  # [paper 4.1] pixels along a side
    fit: str = "squash"  # [paper 4.1] the film is stretched over the square; "pad" keeps its aspect between black bars
    stem: str = "conv"  # [ours] "patch" is PVT to the letter (decision 35); a PVT from scratch hardly learns from 2,765 films
    pretrained: str = ""  # "" starts from new weights; else a directory or hub id of a PVT such as Zetatech/pvt-medium-224
    revision: str = ""  # of the hub id, pinned
    widths: tuple[int, ...] = (32, 64, 128, 192)  # [ours] PVT-medium: 64, 128, 320, 512
    convolutions: tuple[int, ...] = (1, 2, 2, 1)  # [ours] residual convolution blocks a stage; PVT has none
    attentions: tuple[int, ...] = (0, 0, 1, 1)  # [ours] transformer layers a stage; PVT-medium: 3, 4, 18, 3
    heads: tuple[int, ...] = (1, 2, 4, 6)  # [ours] PVT: 1, 2, 5, 8
    reductions: tuple[int, ...] = (8, 4, 2, 1)  # [PVT] spatial reduction of keys and values
    mlp_ratios: tuple[int, ...] = (4, 4, 4, 4)  # [ours] PVT: 8, 8, 4, 4
    adaptive: bool = True  # False: fixed patches, the ablation of Table 5
    points: int = 2  # [ours] g x g sampling points a patch (the paper's m, not printed)
    offset_scale: float = 0.125  # [ours] largest shift of a centre, in widths of the image; Eq. 1 to the letter is 1
    size_scale: float = 0.25  # [ours] largest side of a patch, in widths of the image; Eq. 2 to the letter is 1
    size_floor: float = 0.0  # [ours] smallest side, in widths of the image; 0 keeps Eq. 2
    dropout: float = 0.05  # [ours]
    checkpointing: bool = False  # [ours] transformer layers are computed again for the backward pass: less memory, more time

    def __post_init__(self) -> None:
        _require(self.stem in ("conv", "patch"), f"encoder.stem: '{self.stem}' is neither 'conv' nor 'patch'")
        _require(self.fit in FITS, f"encoder.fit: '{self.fit}' is neither of {', '.join(FITS)}")
        _require(self.size > 0 and self.size % 32 == 0, f"encoder.size: {self.size} is not a multiple of 32")
        for name in ("widths", "convolutions", "attentions", "heads", "reductions", "mlp_ratios"):
            _require(len(getattr(self, name)) == 4, f"encoder.{name}: one number a stage, four in all, not {getattr(self, name)}")
        if self.stem == "patch":
            _require(
                self.reductions[3] == 1,
                f"encoder.reductions: {self.reductions} reduces stage 4, whose class token is on no grid; end with 1",
            )
        if self.pretrained:
            _require(self.stem == "patch", f"encoder.pretrained: the weights of a PVT need encoder.stem 'patch', not '{self.stem}'")
            _require(
                not any(self.convolutions),
                f"encoder.pretrained: a PVT has no convolutions; set encoder.convolutions to 0, not {self.convolutions}",
            )
            _require(self.points == 2, f"encoder.pretrained: a PVT reads 2 x 2 points a patch; set encoder.points to 2, not {self.points}")


@dataclass(frozen=True)
class ClassifierConfig:
    """Classification pre-training of the image encoder ("pre-trained with the disease classification task", 4.1)."""

    min_films: int = 40  # [ours] a finding with fewer training films is not learned
    epochs: int = 24  # [ours]
    batch: int = 64  # [ours] films that one process takes in a step
    learning_rate: float = 2e-3  # [ours]
    weight_decay: float = 0.05  # [ours]
    warmup: float = 0.1  # [ours] share of all steps
    dropout: float = 0.3  # [ours] before the heads
    words_weight: float = 1.0  # [ours] of the error in the report's words, beside the findings; the paper's is 0
    mixup: float = 0.4  # [ours] Beta(mixup, mixup) is the share of a film that is mixed with another; 0, the paper's, mixes none


@dataclass(frozen=True)
class WordsConfig:
    """The text encoder: a BERT in Hugging Face form and a linear projection (section 3.1)."""

    pretrained: str = ""  # "" builds a small BERT from the numbers below; else a directory or hub id ([paper 4.1] BioClinicalBERT)
    revision: str = ""  # of the hub id, pinned
    vocabulary: int = 2000  # [ours] WordPiece trained on the training reports
    width: int = 192  # [ours]
    layers: int = 2  # [ours]
    heads: int = 4  # [ours]
    max_tokens: int = 112  # [ours] longer reports are cut at the end, and counted
    dropout: float = 0.1  # [ours]
    checkpointing: bool = False  # [ours] its layers are computed again for the backward pass: less memory, more time
    epochs: int = 20  # [ours] in which a new one, none that is pretrained, learns to read the training reports, before the matcher


@dataclass(frozen=True)
class MatchConfig:
    """AdaMatch (section 3.1): where patches and words meet, and its training."""

    width: int = 128  # [ours] d
    stage: int = 3  # [paper Table 6] whose patches are matched
    similarity: str = "maxsim"  # [paper Eqs. 5, 6] "pooled" and "attention" are peers' (Table 4), for retrieval alone
    temperature: float = 0.07  # [ours] tau at the start; learned, clamped as in CLIP
    group_identical: bool = True  # [ours] identical reports of a batch are not each other's negatives; False is the paper
    sentence_share: float = 1.0  # [ours] of a report's sentences, in random order, that one step shows; 1 is the paper: the report as it is
    epochs: int = 6  # [ours] paper 4.1: 15
    batch: int = 64  # [ours] pairs that one process takes in a step, which compares those of all; paper 4.1: 112 a GPU
    learning_rate: float = 1e-2  # [ours] paper 4.1: 6e-3 at 8 x 112; so few steps need larger ones
    image_rate: float = 0.2  # [ours] learning rate of the pre-trained image encoder, as a share; the paper's is 1
    text_rate: float = 1.0  # [ours] learning rate of the BERT, as a share; one that is pre-trained may want less
    frozen_stages: int = 1  # [ours] first stages of the image encoder that keep their pre-trained weights; the paper's is 0
    weight_decay: float = 0.05  # [ours]
    warmup: float = 0.1  # [ours] share of all steps
    aligned_start: bool = True  # [ours] patches and words start in the reports' space; False: anywhere, the mean of a batch taken away
    global_least: int = 8  # [ours] training reports that hold a term which the global alignment knows
    global_dimensions: int = 512  # [ours] directions in which it tells reports apart
    global_penalty: float = 1e4  # [ours] of its ridge regression

    def __post_init__(self) -> None:
        _require(self.stage in (2, 3, 4), f"match.stage: {self.stage} is not one of 2, 3, 4 (the stages with AdaPatch)")
        _require(self.similarity in SIMILARITIES, f"match.similarity: '{self.similarity}' is not one of {', '.join(SIMILARITIES)}")
        _require(0 < self.sentence_share <= 1, f"match.sentence_share: {self.sentence_share} is not in (0, 1]; 1 shows whole reports")


@dataclass(frozen=True)
class CodebooksConfig:
    """Textual and visual codebooks (3.2.1, 3.2.2). None of the kappas is printed in the paper."""

    extractor: str = "rules"  # [ours] offline; else a directory or hub id of a token-classification model ([35] BioEN)
    revision: str = ""
    keywords_per_group: int = 60  # [ours] kappa_0
    keywords_per_patch: int = 1  # [ours] kappa_1
    pairs: int = 400  # [ours] kappa_2
    keypatches_per_pair: int = 4  # [ours] kappa_3
    keypatches_per_token: int = 1  # [ours] kappa_4
    reader: str = "film"  # [ours] says whether a keyword is there: the "film" as a whole, or the most similar "patch" (paper)
    keyword_threshold: float = 0.05  # [ours] nats: a keyword that tells less of a film, p log(p / its share of reports), is no hint
    max_keywords: int = 8  # [ours] keywords in one prompt, best calibrated score first
    max_keypatches: int = 12  # [ours] keypatches in one prompt, best similarity first

    def __post_init__(self) -> None:
        _require(self.reader in READERS, f"codebooks.reader: '{self.reader}' is neither of {', '.join(READERS)}")


@dataclass(frozen=True)
class VQGANConfig:
    """The VQ-GAN ([13]; f = 16, 1,024 codes) and its training."""

    codes: int = 1024  # [paper 4.1]
    code_width: int = 64  # [ours] taming: 256
    channels: int = 48  # [ours] taming: 128
    multipliers: tuple[int, ...] = (1, 2, 3)  # [ours] a level each; taming: 1, 1, 2, 2, 4
    blocks: int = 1  # [ours] residual blocks a level; taming: 2
    unshuffle: int = 4  # [ours] space-to-depth before the first level; 1 is taming. f = unshuffle x 2^(levels - 1)
    attention: bool = True  # [taming] attention at the lowest resolution
    epochs: int = 5  # [ours]
    decoder_epochs: int = 6  # [ours] of the decoder alone afterwards, the codes as they are
    batch: int = 8  # [ours] films that one process takes in a step
    learning_rate: float = 6e-4  # [ours]
    codebook_start: float = 0.08  # [ours] share of all steps after which k-means makes the codes; before, vectors pass unquantised
    commitment: float = 0.25  # [taming]
    perceptual: float = 1.0  # [taming] weight; the features are our classifier's where no weights file is given
    adversarial: float = 0.3  # [ours] weight, times the adaptive weight; taming: 0.8
    adversarial_start: float = 0.6  # [ours] share of all steps after which the discriminator joins
    discriminator_channels: int = 48  # [ours] taming: 64
    discriminator_crop: int = 128  # [ours] pixels: it judges a window of each film, the same mean at a quarter of the cost

    def __post_init__(self) -> None:
        _require(self.codes > 1, f"vqgan.codes: {self.codes} is not a codebook")
        _require(self.unshuffle in (1, 2, 4, 8), f"vqgan.unshuffle: {self.unshuffle} is not one of 1, 2, 4, 8")

    @property
    def downsampling(self) -> int:
        """f: pixels along a side of one token."""
        return int(self.unshuffle * 2 ** (len(self.multipliers) - 1))


@dataclass(frozen=True)
class LanguageConfig:
    """The language model ([9] dolly-v2-3b: a GPT-NeoX) with text and image tokens in one vocabulary, and its training (3.2)."""

    pretrained: str = ""  # "" builds a GPT-NeoX from the numbers below; else a directory or hub id ([paper 4.1] dolly-v2-3b)
    revision: str = ""
    lora_rank: int = 0  # [ours] of LoRA on the pretrained model; 0 is full fine-tuning, the paper's
    weights: str = "float32"  # [ours] how a trained model's weights are held when it writes and draws: float32, bfloat16 or int8
    vocabulary: int = 2000  # [ours] text tokens of the BPE trained on the training reports
    width: int = 256  # [ours] dolly-v2-3b: 2560
    layers: int = 6  # [ours] dolly-v2-3b: 32
    heads: int = 4  # [ours] dolly-v2-3b: 32
    context: int = 640  # [ours] dolly-v2-3b: 2048
    dropout: float = 0.1  # [ours]
    checkpointing: bool = False  # [ours] its layers are computed again for the backward pass: less memory, more time
    epochs: int = 8  # [ours] paper 4.1: 5
    generated_epochs: int = 0  # [ours] passes behind those, whose drawings are learned from reports that the model wrote (3.2.2)
    batch: int = 48  # [ours] examples of both directions that one process takes in a step; paper 4.1: 24 a GPU
    learning_rate: float = 1.6e-3  # [ours] paper 4.1: 5e-6 (fine-tuning)
    weight_decay: float = 0.05  # [ours]
    warmup: float = 0.05  # [ours]
    drawing_repeats: int = 2  # [ours] in one pass each film is drawn so often, 0 is reports alone,
    report_repeats: int = 1  # [ours] and reported so often
    film_variants: int = 6  # [ours] encodings of each training film, the first as it is, the others moved and regreyed
    film_share: float = 0.2  # [ours] share of a film's tokens that the model sees while it learns to report, all of them at the end
    hints: str = "film"  # [ours] keywords a report is learned with: those matched to its "film" (paper), or those the "report" affirms
    keyword_details: bool = False  # [ours] each keyword of a film with how likely it is and where, "edema 7 of 10 left base"
    sentence_hints: int = 0  # [ours] sentences of many training reports behind the keywords, those that the film calls for most
    keyword_dropout: float = 0.5  # [ours] mean share of hints left out while training
    drawing_keywords: bool = True  # [ours] a drawing's prompt also holds the keywords that its report affirms; the paper's has none
    guidance_dropout: float = 0.1  # [ours] share of drawings learned without a report, for classifier-free guidance
    guidance: float = 3.0  # [ours] classifier-free guidance when drawing; 1 is none
    drawings: int = 3  # [ours] films drawn for a report; that one is kept which the global alignment finds nearest to it
    temperature: float = 0.85  # [ours] when drawing
    top_k: int = 50  # [ours] tokens to choose from, when drawing and writing
    candidates: int = 64  # [ours] reports sampled for a film; one is composed of their sentences
    belief: float = 0.2  # [ours] a sample counts exp(its global similarity with the film / belief)
    report_temperature: float = 0.9  # [ours] when writing
    max_report_tokens: int = 160  # [ours]

    def __post_init__(self) -> None:
        _require(self.weights in WEIGHTS, f"language.weights: '{self.weights}' is not one of {', '.join(WEIGHTS)}")
        _require(self.hints in HINTS, f"language.hints: '{self.hints}' is neither of {', '.join(HINTS)}")
        more = self.keyword_details or self.sentence_hints
        _require(not more or self.hints == "film", "language.hints: 'report' has neither keyword_details nor sentence_hints; set 'film'")
        _require(self.sentence_hints >= 0, f"language.sentence_hints: {self.sentence_hints} is below 0; 0 is none")
        _require(self.lora_rank >= 0, f"language.lora_rank: {self.lora_rank} is below 0; 0 is full fine-tuning")
        _require(not self.lora_rank or bool(self.pretrained), "language.lora_rank: LoRA needs a pretrained model; set language.pretrained")


@dataclass(frozen=True)
class Preset:
    """All stages of one system."""

    name: str = "openi-small"
    seed: int = 0
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)
    words: WordsConfig = field(default_factory=WordsConfig)
    match: MatchConfig = field(default_factory=MatchConfig)
    codebooks: CodebooksConfig = field(default_factory=CodebooksConfig)
    vqgan: VQGANConfig = field(default_factory=VQGANConfig)
    language: LanguageConfig = field(default_factory=LanguageConfig)

    def __post_init__(self) -> None:
        _require(
            self.encoder.size % self.vqgan.downsampling == 0,
            f"encoder.size {self.encoder.size} is not a multiple of the VQ-GAN's f = {self.vqgan.downsampling}",
        )

    @property
    def image_tokens(self) -> int:
        """Tokens of one film: 256 at 256 px and f = 16."""
        return (self.encoder.size // self.vqgan.downsampling) ** 2

    def to_json(self) -> dict[str, Any]:
        """Plain nested dict, as written to `config.json`."""
        return dataclasses.asdict(self)


OPENI_SMALL = Preset()

PAPER = Preset(
    name="paper",
    encoder=EncoderConfig(
        stem="patch",
        widths=(64, 128, 320, 512),
        convolutions=(0, 0, 0, 0),
        attentions=(3, 4, 18, 3),
        heads=(1, 2, 5, 8),
        mlp_ratios=(8, 8, 4, 4),
        offset_scale=1.0,
        size_scale=1.0,
    ),
    classifier=ClassifierConfig(words_weight=0.0, mixup=0.0),
    words=WordsConfig(pretrained="emilyalsentzer/Bio_ClinicalBERT", revision="d5892b39a4adaed74b92212a44081509db72f87b", max_tokens=256),
    match=MatchConfig(
        width=256,
        group_identical=False,
        epochs=15,
        batch=112,
        learning_rate=6e-3,
        image_rate=1.0,
        frozen_stages=0,
        aligned_start=False,
    ),
    codebooks=CodebooksConfig(extractor="d4data/biomedical-ner-all", revision="main", keywords_per_group=200, pairs=2000, reader="patch"),
    vqgan=VQGANConfig(
        code_width=256,
        channels=128,
        multipliers=(1, 1, 2, 2, 4),
        blocks=2,
        unshuffle=1,
        epochs=20,
        batch=8,
        learning_rate=4.5e-6,
        codebook_start=0.0,
        adversarial=0.8,
        decoder_epochs=0,
    ),
    language=LanguageConfig(
        pretrained="databricks/dolly-v2-3b",
        revision="f6c9be08f16fe4d3a719bee0a4a7c7415b5c65df",
        weights="bfloat16",
        context=2048,
        dropout=0.0,
        checkpointing=True,
        epochs=4,  # paper 4.1: 5, these and
        generated_epochs=1,
        batch=24,
        learning_rate=5e-6,
        drawing_keywords=False,
        drawings=1,
        drawing_repeats=1,
        film_variants=1,
        film_share=1.0,
    ),
)

PRESETS: dict[str, Preset] = {preset.name: preset for preset in (OPENI_SMALL, PAPER)}


def preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        InputError: there is none.
    """
    if name not in PRESETS:
        raise InputError(f"preset '{name}' is unknown; there are {', '.join(sorted(PRESETS))}")
    return PRESETS[name]


def from_json(kind: type[C], values: Any, path: str = "") -> C:
    """Rebuild a config dataclass from `to_json`; a key that is not there takes its default.

    Args:
        kind: the dataclass.
        values: an object of settings.
        path: name of the setting that holds them, for messages.

    Raises:
        InputError: a key that the dataclass lacks, or a value that it refuses, by name.
    """
    where = f"'{path}'" if path else kind.__name__
    _require(isinstance(values, dict), f"config: {where} is {values!r:.40}, not an object of settings")
    unknown = sorted(set(values) - {field.name for field in dataclasses.fields(kind)})  # type: ignore[arg-type]
    _require(not unknown, f"config: {kind.__name__} has no '{', '.join(unknown)}'")
    defaults, built = kind(), {}
    for name, value in values.items():
        default, setting = getattr(defaults, name), f"{path}.{name}".lstrip(".")
        built[name] = from_json(type(default), value, setting) if dataclasses.is_dataclass(default) else _checked(setting, value, default)
    return kind(**built)


def _checked(setting: str, value: Any, default: Any) -> Any:
    """A value of the default's type; a list may stand for a tuple and a whole number for a float."""
    if isinstance(default, tuple):
        kind = type(default[0])
        fits = isinstance(value, (list, tuple)) and all(type(item) is kind for item in value)
        _require(fits, f"setting '{setting}': {value!r} is not a tuple of {kind.__name__}")
        return tuple(value)
    is_whole = isinstance(default, float) and type(value) is int
    _require(is_whole or type(value) is type(default), f"setting '{setting}': {value!r} is not a {type(default).__name__}")
    return float(value) if is_whole else value


def override(preset: Preset, settings: dict[str, Any]) -> Preset:
    """A preset with some numbers changed: `{"match.epochs": 2}`.

    Raises:
        InputError: a setting that does not exist, or a value of another type.
    """
    values = preset.to_json()
    for path, value in settings.items():
        *stages, name = path.split(".")
        node: Any = values
        for stage in stages:
            node = node.get(stage) if isinstance(node, dict) else None
        if not isinstance(node, dict) or name not in node or isinstance(node[name], dict):
            raise InputError(f"setting '{path}' does not exist; try a name from config.json such as match.epochs")
        node[name] = value
    return from_json(Preset, values)
