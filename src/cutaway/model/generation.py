"""Text from a model: one token after the other, greedily or by sampling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .kv_cache import KVCache

if TYPE_CHECKING:
    from .transformer import HookedTransformer


@torch.no_grad()
def generate(
    model: HookedTransformer,
    input: str | list[str] | Int[Tensor, "batch pos"] | Int[Tensor, " pos"],
    max_new_tokens: int = 10,
    *,
    do_sample: bool = True,
    temperature: float = 1.0,
    top_k: int | None = None,
    stop_at_eos: bool = True,
    eos_token_id: int | Sequence[int] | None = None,
    prepend_bos: bool | None = None,
    use_past_kv_cache: bool = True,
    generator: torch.Generator | None = None,
    return_type: Literal["input", "tokens", "str"] = "input",
    verbose: bool = True,
) -> Any:
    """Continue a text or tokens.

    Args:
        input: one text, several texts (padded on the left, so that each gets what it would get
            alone), or tokens; tokens of different length come padded on the left too.
        max_new_tokens: at most so many; prompt and continuation must fit into the context.
        do_sample: draw from the softmax; False takes the likeliest token.
        temperature: the logits are divided by it before drawing; 0 is the same as do_sample=False.
        top_k: draw from the likeliest so many tokens only; None draws from all.
        stop_at_eos: a sequence ends with the end-of-sequence token; what follows is filled with it.
        eos_token_id: which token (or any of which) ends a sequence; None takes the tokenizer's.
        prepend_bos: whether BOS comes before text; None takes the model's default.
        use_past_kv_cache: keep keys and values instead of running the whole sequence every time.
        generator: where the draws come from; None is torch's global generator.
        return_type: "input" returns text for text and tokens for tokens; tokens [batch, pos]
            include the prompt and its padding, text has neither special tokens nor padding.
        verbose: of no effect (there is no progress bar); course code gives it.

    Raises:
        ValueError: a negative temperature, a top_k below 1, an unknown return_type, or a result
            longer than the context.

    Example:
        >>> model.generate("Once upon a time", 20, temperature=0)  # doctest: +SKIP
    """
    if temperature < 0:
        raise ValueError(f"temperature={temperature} is negative; 0 is greedy.")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k={top_k} leaves no token to draw; None draws from all.")
    if return_type not in ("input", "tokens", "str"):
        raise ValueError(f"return_type={return_type!r} is unknown; it can be input, tokens or str.")
    tokens, real = _prompt(model, input, prepend_bos)
    padding = (~real).sum(-1).tolist()
    n_prompt = tokens.shape[1]
    _check_room(model, n_prompt, max_new_tokens)
    ends = _end_tokens(model, eos_token_id) if stop_at_eos else None
    next_logits = _Stepper(model, real, n_prompt + max_new_tokens, use_past_kv_cache)
    greedy = not do_sample or temperature == 0
    done = torch.zeros(tokens.shape[0], dtype=torch.bool, device=tokens.device)
    for _ in range(max_new_tokens):
        logits = next_logits(tokens)  # [batch, d_vocab]
        new = logits.argmax(-1) if greedy else _sample(logits / temperature, top_k, generator)
        if ends is not None:
            new = torch.where(done, ends[0], new)
            done = done | torch.isin(new, ends)
        tokens = torch.cat([tokens, new[:, None]], dim=1)
        if bool(done.all()):
            break
    if return_type == "tokens" or (return_type == "input" and isinstance(input, Tensor)):
        return tokens
    texts = [
        _to_text(model, row[n_padding:], n_prompt - n_padding, ends)
        for row, n_padding in zip(tokens, padding, strict=True)
    ]
    return texts[0] if isinstance(input, str) else texts


def _prompt(
    model: HookedTransformer, input: Any, prepend_bos: bool | None
) -> tuple[Int[Tensor, "batch pos"], Bool[Tensor, "batch pos"]]:
    """Tokens, padded on the left, and which of them are real."""
    tokens, real = model.to_input(input, prepend_bos, "left", None, None)
    return tokens, torch.ones_like(tokens, dtype=torch.bool) if real is None else real


def _check_room(model: HookedTransformer, n_prompt: int, max_new_tokens: int) -> None:
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens={max_new_tokens} is not a positive whole number.")
    if n_prompt + max_new_tokens > model.cfg.n_ctx:
        raise ValueError(
            f"a prompt of {n_prompt} tokens and max_new_tokens={max_new_tokens} do not fit into "
            f"the context of {model.cfg.model_name}, which is {model.cfg.n_ctx}: "
            f"ask for at most {max(model.cfg.n_ctx - n_prompt, 0)} new tokens."
        )


def _end_tokens(
    model: HookedTransformer, eos_token_id: int | Sequence[int] | None
) -> Int[Tensor, " end"] | None:
    """The tokens that end a sequence; None if there are none."""
    if eos_token_id is None and model.tokenizer is not None:
        eos_token_id = model.tokenizer.eos_token_id
    if eos_token_id is None:
        return None
    ends = [eos_token_id] if isinstance(eos_token_id, int) else list(eos_token_id)
    return torch.tensor(ends, device=model.device) if ends else None


class _Stepper:
    """Logits of the next token, from a key-value cache or from the whole sequence."""

    def __init__(
        self,
        model: HookedTransformer,
        real: Bool[Tensor, "batch pos"],
        max_length: int,
        use_past_kv_cache: bool,
    ) -> None:
        self.model, self.real = model, real
        self.cache: KVCache | None = None
        if use_past_kv_cache:
            batch = real.shape[0]
            self.cache = KVCache(model, batch, max_length)

    def __call__(self, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch d_vocab"]:
        n_generated = tokens.shape[1] - self.real.shape[1]
        if self.cache is None:
            mask = torch.cat([self.real, self.real.new_ones(len(tokens), n_generated)], dim=1)
            logits = self.model(tokens, attention_mask=mask)
        else:
            padded = n_generated == 0 and not bool(self.real.all())
            logits = self.model(
                tokens[:, self.cache.length :],
                attention_mask=self.real if padded else None,
                past_kv_cache=self.cache,
            )
        last: Tensor = logits[:, -1]
        return last


def _sample(
    logits: Float[Tensor, "batch d_vocab"], top_k: int | None, generator: torch.Generator | None
) -> Int[Tensor, " batch"]:
    """One draw per row, made where the generator lives."""
    logits = logits.float()
    if top_k is not None and top_k < logits.shape[-1]:
        kept = logits.topk(top_k)
        logits = torch.full_like(logits, -torch.inf).scatter(-1, kept.indices, kept.values)
    probabilities = logits.softmax(-1)
    if generator is not None:
        probabilities = probabilities.to(generator.device)
    drawn = torch.multinomial(probabilities, 1, generator=generator)
    return drawn[:, 0].to(logits.device)


def _to_text(model: HookedTransformer, tokens: Tensor, n_prompt: int, ends: Tensor | None) -> str:
    """The text of one row without its padding, up to the token that ended it."""
    row: list[int] = tokens.tolist()
    stop = set() if ends is None else set(ends.tolist())
    end = next((i for i in range(n_prompt, len(row)) if row[i] in stop), len(row))
    return model.get_tokenizer().decode(row[:end], skip_special_tokens=True)
