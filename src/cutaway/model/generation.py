"""Text from a model: one token after the other, the likeliest or drawn, or by beam search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Int
from torch import Tensor

from .beam_search import EarlyStopping, beam_search
from .continuation import NextLogits, Prompt
from .sampling import Sampling

if TYPE_CHECKING:
    from .transformer import HookedTransformer


@torch.no_grad()
def generate(
    model: HookedTransformer,
    input: str | list[str] | Int[Tensor, "batch pos"] | Int[Tensor, " pos"],
    max_new_tokens: int = 10,
    *,
    do_sample: bool | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    freq_penalty: float = 0.0,
    repetition_penalty: float = 1.0,
    no_repeat_ngram_size: int = 0,
    num_beams: int = 1,
    length_penalty: float = 1.0,
    early_stopping: EarlyStopping = False,
    stop_at_eos: bool = True,
    eos_token_id: int | Sequence[int] | None = None,
    prepend_bos: bool | None = None,
    use_past_kv_cache: bool = True,
    generator: torch.Generator | None = None,
    return_type: Literal["input", "tokens", "str"] = "input",
    verbose: bool = True,
) -> Any:
    """Continue a text or tokens.

    Each token is drawn from `Sampling(...).distribution(logits, tokens)`, which is where the
    options from `temperature` to `no_repeat_ngram_size` are explained, and where the distribution
    itself can be looked at.

    Args:
        input: one text, several texts (padded on the left, so that each gets what it would get
            alone), or tokens; tokens of different length come padded on the left too.
        max_new_tokens: at most so many; prompt and continuation must fit into the context.
        do_sample: draw; False takes the likeliest token. None draws, unless `num_beams` is set.
        temperature: the logits are divided by it before drawing; 0 is the same as do_sample=False.
        top_k: draw from the likeliest so many tokens only; None draws from all.
        top_p: draw from the fewest tokens that together have this probability; None from all.
        min_p: draw from tokens at least this many times as likely as the likeliest; None from all.
        freq_penalty: taken from a token's logit for each time it stands in the text so far.
        repetition_penalty: above 1 weakens every token that stands in the text so far.
        no_repeat_ngram_size: no so many tokens in a row come twice; 0 is off.
        num_beams: above 1 searches for the likeliest whole continuation and returns the best;
            `beam_search` returns all of them, and explains the two options that follow.
        length_penalty: of beam search.
        early_stopping: of beam search.
        stop_at_eos: a sequence ends with the end-of-sequence token; what follows is filled with it.
        eos_token_id: which token (or any of which) ends a sequence; None takes the tokenizer's.
        prepend_bos: whether BOS comes before text; None takes the model's default.
        use_past_kv_cache: keep keys and values instead of running the whole sequence every time.
        generator: where the draws come from; None is torch's global generator.
        return_type: "input" returns text for text and tokens for tokens; tokens [batch, pos]
            include the prompt and its padding, text has neither special tokens nor padding.
        verbose: of no effect (there is no progress bar); course code gives it.

    Penalties and the n-gram block count prompt and continuation, never padding; they act on greedy
    choice and beam search as well.

    Raises:
        ValueError: an option out of its range, an unknown return_type, beam search that is asked to
            draw, or a result longer than the context.

    Example:
        >>> model.generate("Once upon a time", 20, temperature=0)  # doctest: +SKIP
        >>> generator = torch.Generator().manual_seed(0)
        >>> model.generate("Once", 20, top_p=0.9, generator=generator)  # doctest: +SKIP
    """
    if return_type not in ("input", "tokens", "str"):
        raise ValueError(f"return_type={return_type!r} is unknown; it can be input, tokens or str.")
    wants_tokens = return_type == "tokens" or (return_type == "input" and isinstance(input, Tensor))
    if num_beams != 1:
        _check_draws_nothing(do_sample, temperature, top_k=top_k, top_p=top_p, min_p=min_p)
        found = beam_search(
            model,
            input,
            max_new_tokens,
            num_beams,
            length_penalty=length_penalty,
            early_stopping=early_stopping,
            freq_penalty=freq_penalty,
            repetition_penalty=repetition_penalty,
            no_repeat_ngram_size=no_repeat_ngram_size,
            stop_at_eos=stop_at_eos,
            eos_token_id=eos_token_id,
            prepend_bos=prepend_bos,
            use_past_kv_cache=use_past_kv_cache,
        )
        if wants_tokens:
            return found.best()
        model.get_tokenizer()  # raises if there is none
        texts = [beams[0] for beams in found.texts or []]
        return texts[0] if isinstance(input, str) else texts
    sampling = Sampling(
        temperature, top_k, top_p, min_p, freq_penalty, repetition_penalty, no_repeat_ngram_size
    )
    if do_sample is False:
        sampling = replace(sampling, temperature=0.0)
    prompt = Prompt.of(model, input, max_new_tokens, prepend_bos, stop_at_eos, eos_token_id)
    tokens = _continued(prompt, NextLogits(model, prompt, use_past_kv_cache), sampling, generator)
    if wants_tokens:
        return tokens
    texts = [prompt.text(model, row, continued) for row, continued in enumerate(tokens)]
    return texts[0] if isinstance(input, str) else texts


def _check_draws_nothing(do_sample: bool | None, temperature: float, **cuts: float | None) -> None:
    """Raise ValueError if beam search is asked for what only drawing has."""
    if do_sample:
        raise ValueError("beam search does not draw: leave do_sample out, or take num_beams=1.")
    given = {"temperature": None if temperature in (0, 1) else temperature, **cuts}
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"beam search does not draw, so {name}={value} would do nothing: leave it out, "
                "or take num_beams=1."
            )


def _continued(
    prompt: Prompt,
    next_logits: NextLogits,
    sampling: Sampling,
    generator: torch.Generator | None,
) -> Int[Tensor, "batch pos"]:
    """Prompt and new tokens; a row that has ended is filled with the first end token."""
    batch, mask, ends = len(prompt.tokens), prompt.whole_mask(), prompt.ends
    tokens = prompt.tokens.new_empty(batch, prompt.total)
    tokens[:, : prompt.length] = prompt.tokens
    done = torch.zeros(batch, dtype=torch.bool, device=tokens.device)
    for n in range(prompt.length, prompt.total):
        so_far, real = tokens[:, :n], None if mask is None else mask[:, :n]
        new = sampling.choose(next_logits(so_far), so_far, real, generator)
        if ends is not None:
            new = torch.where(done, ends[0], new)
            done = done | torch.isin(new, ends)
        tokens[:, n] = new
        if ends is not None and bool(done.all()):
            return tokens[:, : n + 1].clone()
    return tokens
