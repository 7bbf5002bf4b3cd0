"""Before the matcher: a BERT with new weights learns to read the training reports (ours; the paper's BERT comes pre-trained)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from cyclicxr import processes
from cyclicxr.config import Preset
from cyclicxr.data.reports import without_marks
from cyclicxr.match.peers import mean_word
from cyclicxr.training.augment_text import some_sentences
from cyclicxr.training.corpus import Corpus
from cyclicxr.training.loop import in_order, shuffled_batches
from cyclicxr.training.optim import cosine, decayed, set_rate
from cyclicxr.training.precision import mixed_precision
from cyclicxr.training.stateful import OnStudies
from cyclicxr.training.train_classifier import labels, wholes
from cyclicxr.words.encoder import build_bert, tokenize

WORDS = "match_words"  # this loop's name: of its checkpoint and its log
RATE = 1.5e-3  # [ours] AdamW's
DECAY, WARMUP = 0.01, 0.1  # [ours]
HIDDEN = 0.2  # [ours] share of the tokens that are to be guessed; BERT: 0.15
POOL = 8  # [ours] batches whose reports are sorted by length
PARTLY, SHOWN = 0.5, 0.7  # [ours] of so many reports only so many of their sentences are shown


class Reader(nn.Module):
    """A BERT and three heads, which are learned for its sake and not kept: the words that were hidden, the report as a whole, and the
    findings that the film's annotations show.

    Args:
        bert: is trained.
        words: entries of the tokenizer.
        directions: of the reports' space.
        findings: how many.
    """

    def __init__(self, bert: PreTrainedModel, words: int, directions: int, findings: int) -> None:
        super().__init__()
        width = bert.config.hidden_size
        self.bert = bert
        self.word, self.whole, self.finding = (nn.Linear(width, out) for out in (words, directions, findings))

    def forward(self, ids: Tensor, attention: Tensor, mask: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Ids, attention, real tokens and hidden ones, each (c, k) -> logits of the h words that are hidden (h, w), what each report says
        as a whole (c, r), and logits of the findings (c, f)."""
        found = self.bert(input_ids=ids, attention_mask=attention.long()).last_hidden_state
        mean = mean_word(found, mask)
        return self.word(found[hidden]), self.whole(mean), self.finding(mean)


class WordsTraining(OnStudies):
    """Cross-entropy of hidden words, squared error of the report as a whole in the global alignment's space, and cross-entropy of the
    findings; AdamW."""

    def __init__(self, train: Corpus, val: Corpus, preset: Preset, findings: Sequence[str], tokenizer: PreTrainedTokenizerFast) -> None:
        self.train, self.val, self.preset, self.tokenizer = train, val, preset, tokenizer
        self.reports = [without_marks(report) for report in train.reports]
        self.said = wholes(train.reports, preset)
        self.truth = labels(train.studies, findings)
        self.model = Reader(build_bert(preset.words, len(tokenizer)), len(tokenizer), self.said.shape[1], len(findings))
        self.read = processes.parallel(self.model, self.model)
        self.optimizer = torch.optim.AdamW(decayed(self.model, DECAY), lr=RATE)

    def batches(self, epoch: int) -> list[list[int]]:
        """Shuffled, reports of like length together: padding takes as long as words. What is left over for less than half a pool waits
        for another pass."""
        size, seed = self.preset.match.batch, self.preset.seed
        pools = [sorted(pool, key=lambda i: len(self.reports[i])) for pool in shuffled_batches(len(self.train), POOL * size, seed, epoch)]
        alike = [[pool[i] for i in rows] for pool in pools for rows in in_order(len(pool), size)]
        return [alike[i] for (i,) in shuffled_batches(len(alike), 1, seed, epoch)]

    def step(self, indices: list[int], progress: float) -> dict[str, float]:
        """One step of AdamW."""
        rate = RATE * cosine(progress, WARMUP)
        set_rate(self.optimizer, rate)
        self.model.train()
        partly = torch.rand(len(indices)) < PARTLY
        hidden, whole, finding = self._read(
            [some_sentences(self.reports[i], SHOWN if some else 1.0) for i, some in zip(indices, partly.tolist(), strict=True)]
        )
        said, truth = (of[indices].to(whole.device) for of in (self.said, self.truth))
        told, shown = functional.mse_loss(whole, said), functional.binary_cross_entropy_with_logits(finding, truth)
        loss = hidden + told + shown
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        numbers = {"loss": loss, "hidden words": hidden, "whole": told, "findings": shown, "gradient norm": norm}
        return {"rate": rate, **{name: float(number.detach()) for name, number in numbers.items()}}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Nats of a hidden word of the validation reports."""
        self.model.eval()
        texts = [without_marks(report) for report in self.val.reports]
        found = [float(self._read([texts[i] for i in rows])[0]) for rows in in_order(len(texts), self.preset.match.batch)]
        return {"hidden words": sum(found) / len(found)}

    def _read(self, texts: Sequence[str]) -> tuple[Float[Tensor, ""], Float[Tensor, "c r"], Float[Tensor, "c f"]]:
        """Nats of a hidden word, what each report says as a whole, and logits of its findings."""
        tokens = tokenize(self.tokenizer, texts, self.preset.words.max_tokens)
        hidden = tokens.mask & (torch.rand(tokens.ids.shape) < HIDDEN)
        hidden[0, 1] = True  # the first word, so that there is always one
        ids = tokens.ids.masked_fill(hidden, self.tokenizer.mask_token_id)
        where = processes.device()
        with mixed_precision():
            word, whole, finding = self.read(*(of.to(where) for of in (ids, tokens.attention, tokens.mask, hidden)))
        guessed = functional.cross_entropy(word.float(), tokens.ids[hidden].to(where))
        return guessed, whole.float(), finding.float()
