"""A model that solves IOI by rule, for tests: it has a tokenizer and logits, and no weights."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from cutaway.model.text import TextInterface
from cutaway.model.tokenizer import Tokenizer
from cutaway.training.ioi_vocabulary import build_tokenizer


class RuleModel(TextInterface):
    """The logit of a token is 3 - (how often it has occurred), or 0 if it has not.

    At the end of an IOI sentence that is 2 for the indirect object and 1 for the subject.
    """

    def __init__(
        self, tokenizer: Tokenizer | None = None, n_ctx: int = 64, prepend_bos: bool = True
    ) -> None:
        self.tokenizer = Tokenizer(build_tokenizer()) if tokenizer is None else tokenizer
        self.device = torch.device("cpu")
        self.cfg = SimpleNamespace(
            n_ctx=n_ctx,
            d_vocab=self.tokenizer.vocab_size,
            default_prepend_bos=prepend_bos,
            model_name="rule",
        )

    def __call__(self, tokens: torch.Tensor) -> torch.Tensor:
        assert tokens.shape[1] <= self.cfg.n_ctx
        n_pos = tokens.shape[1]
        seen = torch.ones(n_pos, n_pos).tril()  # [pos, earlier or same]
        same = (tokens[:, :, None] == tokens[:, None, :]).float()
        counts = seen @ same  # [batch, pos, token]: how often each of the tokens has occurred
        values = torch.where(counts > 0, 3 - counts, 0)
        logits = torch.zeros(*tokens.shape, self.cfg.d_vocab)
        return logits.scatter(2, tokens[:, None, :].expand(-1, n_pos, -1), values)
