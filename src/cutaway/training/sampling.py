"""Text from a trained model, also longer than its context."""

from __future__ import annotations

import torch

from ..model.transformer import HookedTransformer


def sample(
    model: HookedTransformer,
    prompt: str,
    n_tokens: int = 300,
    temperature: float = 0.8,
    seed: int = 0,
) -> str:
    """A continuation. Where the context is full, the model goes on from its second half.

    Args:
        model: with a tokenizer.
        prompt: what comes first; shorter than the context.
        n_tokens: of the continuation.
        temperature: the logits are divided by it; 0 takes the likeliest token.
        seed: of the draws.

    Raises:
        ValueError: a prompt that does not fit, or holds unknown characters.

    Example:
        >>> sample(model, "ROMEO:")  # doctest: +SKIP
    """
    generator = torch.Generator().manual_seed(seed)
    tokens = model.to_tokens(prompt)
    written, left = tokens[0].tolist(), n_tokens
    while left > 0:
        window = torch.tensor([written[-model.cfg.n_ctx :]], device=model.device)
        if window.shape[1] >= model.cfg.n_ctx:
            window = window[:, -(model.cfg.n_ctx // 2) :]
        count = min(left, model.cfg.n_ctx - window.shape[1])
        grown = model.generate(
            window,
            count,
            temperature=temperature,
            generator=generator,
            stop_at_eos=False,
            return_type="tokens",
        )
        written += grown[0, window.shape[1] :].tolist()
        left -= count
    text: str = model.get_tokenizer().decode(written, skip_special_tokens=True)
    return text
