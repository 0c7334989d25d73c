"""Rows of activations: every token once, in the seed's order; the store gives the same stream."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from cutaway.model.config import ModelConfig
from cutaway.model.transformer import HookedTransformer
from cutaway.sae.activations import Activations
from cutaway.sae.rows import DrawnRows, GivenRows, Position, Rows, RowSource
from cutaway.sae.store import Store, store_rows
from cutaway.sae.token_rows import DrawnTokens, FixedTokens, pieces
from random_models import PADDING, configs, random_model

CFG = ModelConfig(
    n_layers=2, d_model=8, n_heads=2, d_head=4, d_mlp=12, d_vocab=40, n_ctx=9, init_range=0.4
)
HOOK, OUT = "blocks.0.hook_resid_post", "blocks.1.hook_mlp_out"


@pytest.fixture(scope="module")
def model() -> HookedTransformer:
    return random_model(CFG.replace(default_prepend_bos=False))


@pytest.fixture(scope="module")
def tokens() -> Tensor:
    return torch.randint(1, 40, (23, 9), generator=torch.Generator().manual_seed(0))


def sorted_rows(rows: Tensor) -> Tensor:
    return torch.tensor(sorted(rows.double().tolist()))


def one_pass(source: RowSource) -> Rows:
    """A whole pass, put together from blocks."""
    assert source.n_blocks is not None
    blocks = [source.block(number) for number in range(source.n_blocks)]
    return {hook: torch.cat([block[hook] for block in blocks]) for hook in source.widths}


# ---- activations ----


@settings(max_examples=12)
@given(configs(max_layers=2), st.integers(1, 9), st.integers(1, 60), st.integers(0, 3))
def test_a_pass_holds_every_row_of_a_plain_run_once(
    cfg: ModelConfig, n: int, buffer_rows: int, seed: int
) -> None:
    """Oracle: one run of the model on all of the text, padding left out."""
    model = random_model(cfg)
    tokens = torch.randint(0, 17, (n, 7), generator=torch.Generator().manual_seed(seed))
    tokens[:, 2] = 3  # not padding alone
    hooks = ["blocks.0.hook_resid_post", "blocks.0.attn.hook_z", "hook_embed"]
    source = Activations(model, tokens, hooks, seed=seed, buffer_rows=buffer_rows)
    found = one_pass(source)
    _, cache = model.record(tokens, names_filter=hooks)
    padding = model.padding_mask(tokens)
    real = model.real_tokens(tokens, padding)
    kept = torch.ones(n, 7, dtype=torch.bool) if real is None else real
    joined = torch.cat([cache[hook].flatten(2)[kept] for hook in hooks], dim=1)
    ours = torch.cat([found[hook] for hook in hooks], dim=1)
    torch.testing.assert_close(sorted_rows(ours), sorted_rows(joined), atol=1e-5, rtol=1e-4)


def test_order_is_the_seeds_and_passes_differ(model: HookedTransformer, tokens: Tensor) -> None:
    def rows(seed: int, first: int = 0) -> Tensor:
        source = Activations(model, tokens, HOOK, seed=seed, buffer_rows=50)
        assert source.n_blocks == 5
        return torch.cat([source.block(first + number)[HOOK] for number in range(5)])

    assert torch.equal(rows(0), rows(0))
    assert not torch.equal(rows(0), rows(1))
    assert not torch.equal(rows(0), rows(0, first=5))
    assert torch.allclose(sorted_rows(rows(0)), sorted_rows(rows(0, first=5)), atol=1e-5)


def test_the_buffer_mixes(model: HookedTransformer, tokens: Tensor) -> None:
    """Neighbours of a batch come from different sequences, and those from all over the text."""
    tagged = tokens.clone()
    tagged[:] = torch.arange(1, 24)[:, None]  # the token says which sequence it is
    source = Activations(model, tagged, "hook_embed", buffer_rows=90)
    embedded = model.W_E[1:24]
    first = source.block(0)["hook_embed"]
    ids = (torch.cdist(first, embedded)).argmin(1)
    assert ids.unique().tolist() != list(range(10))  # 10 sequences, not the first ten
    assert (ids[1:] == ids[:-1]).double().mean() < 0.3  # unshuffled: 8/9


def test_a_row_is_the_same_token_at_every_hook(model: HookedTransformer, tokens: Tensor) -> None:
    """What a transcoder needs: input and target of one token, side by side."""
    hooks = ["blocks.1.ln2.hook_normalized", OUT]
    source = Activations(model, tokens, hooks, buffer_rows=60)
    batch = next(source.batches(50)).rows
    _, cache = model.record(tokens, names_filter=hooks)
    plain = torch.cat([cache[hook].flatten(0, 1) for hook in hooks], dim=1)
    ours = torch.cat([batch[hook] for hook in hooks], dim=1)
    nearest = torch.cdist(ours.double(), plain.double()).min(1).values
    assert float(nearest.max()) < 1e-4


@settings(max_examples=20)
@given(st.integers(1, 40), st.integers(1, 40))
def test_batches_go_on_from_any_place(batch_size: int, cut: int) -> None:
    source = GivenRows(torch.arange(37.0)[:, None], seed=1)
    whole = [b.rows[""] for b in islice(source.batches(batch_size), 6)]
    n_first = 1 + cut % 5
    first = list(islice(source.batches(batch_size), n_first))
    rest = islice(source.batches(batch_size, first[-1].after), 6 - n_first)
    resumed = [b.rows[""] for b in (*first, *rest)]
    assert all(torch.equal(a, b) for a, b in zip(whole, resumed, strict=True))
    assert all(len(rows) == batch_size for rows in whole)
    stream = torch.cat(whole)[:, 0]
    for begin in range(0, len(stream) - 36, 37):  # each pass takes each row once
        assert sorted(stream[begin : begin + 37].tolist()) == list(range(37))


def test_bos_is_left_out_if_asked(model: HookedTransformer, tokens: Tensor) -> None:
    with_bos = tokens.clone()
    with_bos[:, 0] = 7
    with_bos[:, 1:][with_bos[:, 1:] == 7] = 8
    model.tokenizer = type(PADDING)(pad_token_id=None, bos_token_id=7, eos_token_id=None)
    try:
        without = one_pass(Activations(model, with_bos, HOOK))[HOOK]
        all_of_it = one_pass(Activations(model, with_bos, HOOK, skip_bos=False))[HOOK]
        only_bos = torch.full((3, 4), 7)
        with pytest.raises(ValueError, match="no rows: all tokens of the 3 sequences are BOS"):
            Activations(model, only_bos, HOOK)
    finally:
        model.tokenizer = PADDING  # type: ignore[assignment]
    assert (len(without), len(all_of_it)) == (23 * 8, 23 * 9)


def test_digest_is_of_model_text_hook_and_seed(model: HookedTransformer, tokens: Tensor) -> None:
    def digest(**changes: object) -> str:
        given = {"model": model, "tokens": tokens, "hooks": HOOK, "seed": 0, **changes}
        return Activations(**given).digest  # type: ignore[arg-type]

    other = tokens.clone()
    other[0, 0] += 1
    found = [
        digest(),
        digest(model=random_model(CFG, seed=5)),
        digest(tokens=other),
        digest(hooks=OUT),
        digest(seed=1),
        digest(buffer_rows=18),
        digest(skip_bos=False),
    ]
    assert len(set(found)) == len(found)
    assert digest() == found[0]


# ---- errors ----


@pytest.mark.parametrize(
    ("hook", "says"),
    [
        ("blocks.0.hook_resid_pst", "has no hook 'blocks.0.hook_resid_pst'; near matches: blocks"),
        ("blocks.7.hook_resid_post", "has no hook 'blocks.7.hook_resid_post'"),
        ("blocks.0.attn.hook_pattern", "no row for each token but one for each pair"),
        ([], "no hook is named"),
    ],
)
def test_hooks_that_have_no_rows(
    model: HookedTransformer, tokens: Tensor, hook: str, says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        Activations(model, tokens, hook)


def test_nan_is_refused_with_hook_and_sequence(model: HookedTransformer, tokens: Tensor) -> None:
    def spoil(value: Tensor, hook: object) -> Tensor:
        value = value.clone()
        value[(ids == 5).any(1), 3] = torch.nan
        return value

    ids = tokens
    source = Activations(model, tokens, ["hook_embed", HOOK], buffer_rows=10_000)
    ids = tokens[torch.from_numpy(source.tokens.block(0, 23)[1].numpy())]
    with (
        model.hooks([(HOOK, spoil)]),
        pytest.raises(ValueError, match=rf"{HOOK} holds NaN, first in sequence \d+ .* position 3"),
    ):
        source.block(0)


def test_rows_that_are_not_numbers() -> None:
    with pytest.raises(ValueError, match=r"the given rows holds infinite values, first in row 2 "):
        GivenRows(torch.tensor([[0.0], [1.0], [torch.inf]]))
    with pytest.raises(ValueError, match="no rows"):
        GivenRows(torch.empty(0, 3))
    with pytest.raises(ValueError, match="same number of rows"):
        GivenRows({"a": torch.zeros(2, 1), "b": torch.zeros(3, 1)})


def test_empty_and_short_texts(model: HookedTransformer) -> None:
    with pytest.raises(ValueError, match="the text is empty"):
        pieces(model, [])
    with pytest.raises(ValueError, match="the text is empty"):
        FixedTokens(torch.empty(0, 9, dtype=torch.long))
    with pytest.raises(ValueError, match="5 tokens, which is 0 pieces of 9: at least 1"):
        pieces(model, [1] * 5)
    with pytest.raises(ValueError, match="n_ctx=10 does not fit"):
        pieces(model, [1] * 50, n_ctx=10)
    assert pieces(model, list(range(20)), n_ctx=6).tolist()[1] == [6, 7, 8, 9, 10, 11]


# ---- streams without end ----


def test_drawn_tokens_and_rows_depend_on_the_block_alone(model: HookedTransformer) -> None:
    def sequences(first: int, n: int) -> Tensor:
        return (torch.arange(first, first + n)[:, None] + torch.arange(9)) % 39 + 1

    source = Activations(model, DrawnTokens(sequences, "counting"), HOOK, buffer_rows=27)
    assert source.n_blocks is None
    later = source.block(4)[HOOK]
    assert torch.equal(source.block(4)[HOOK], later)
    rows = DrawnRows(lambda g: torch.randn(8, 3, generator=g), "noise", seed=2)
    assert torch.equal(rows.block(5)[""], rows.block(5)[""])
    assert not torch.equal(rows.block(5)[""], rows.block(6)[""])


# ---- the store ----


@pytest.mark.parametrize("shard_rows", [17, 100, 1000])
def test_the_store_is_the_stream(
    model: HookedTransformer, tokens: Tensor, tmp_path: Path, shard_rows: int
) -> None:
    source = Activations(model, tokens, [HOOK, OUT], seed=3, buffer_rows=40)
    store = store_rows(source, tmp_path / "store", 207, shard_rows=shard_rows)
    for ours, theirs in islice(zip(store.batches(23), source.batches(23), strict=False), 9):
        assert all(torch.equal(ours.rows[hook], theirs.rows[hook]) for hook in (HOOK, OUT))
    assert store.facts == source.facts
    again = torch.cat([b.rows[HOOK] for b in islice(store.batches(23), 18)])
    first, second = again[:207], again[207:]
    assert not torch.equal(first, second)
    assert torch.equal(sorted_rows(first), sorted_rows(second))


def test_a_stopped_store_goes_on(model: HookedTransformer, tokens: Tensor, tmp_path: Path) -> None:
    source = Activations(model, tokens, HOOK, buffer_rows=40)
    whole = store_rows(source, tmp_path / "whole", 150, shard_rows=40)

    def stop(share: float) -> None:
        if share > 0.4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store_rows(source, tmp_path / "cut", 150, shard_rows=40, progress=stop)
    with pytest.raises(ValueError, match="lacks 2 of its 4 shards, first rows-00002"):
        Store(tmp_path / "cut")
    (tmp_path / "cut" / ".rows-00002.abc.safetensors").write_bytes(b"half")
    cut = store_rows(source, tmp_path / "cut", 150, shard_rows=40)
    for number in range(4):
        assert torch.equal(whole.block(number)[HOOK], cut.block(number)[HOOK])
    assert whole.digest == cut.digest
    assert not list((tmp_path / "cut").glob(".rows-*"))


def test_stores_that_cannot_be_used(
    model: HookedTransformer, tokens: Tensor, tmp_path: Path
) -> None:
    source = Activations(model, tokens, HOOK)
    store = store_rows(source, tmp_path / "store", 100, shard_rows=60, dtype="bfloat16")
    assert store.block(0)[HOOK].dtype == torch.float32
    other = Activations(random_model(CFG, seed=9), tokens, HOOK)
    with pytest.raises(ValueError, match="the rows of another stream"):
        store_rows(other, tmp_path / "store", 100, shard_rows=60, dtype="bfloat16")
    with pytest.raises(ValueError, match="another dtype"):
        store_rows(source, tmp_path / "store", 100, shard_rows=60)
    with pytest.raises(ValueError, match=r"lacks store\.json"):
        Store(tmp_path)
    with pytest.raises(ValueError, match="something else"):
        store_rows(source, tmp_path, 100)
    huge = GivenRows(torch.full((4, 2), 1e6))
    with pytest.raises(ValueError, match="float16 cannot hold"):
        store_rows(huge, tmp_path / "huge", 4, dtype="float16")
    (tmp_path / "store" / "rows-00001.safetensors").write_bytes(b"half of it")
    with pytest.raises(ValueError, match="not whole"):
        store.block(1)
    save_file({}, tmp_path / "store" / "rows-00001.safetensors")
    (tmp_path / "store" / "store.json").write_text(json.dumps({"format": "x"}))
    with pytest.raises(ValueError, match="not the index"):
        Store(tmp_path / "store")


def test_golden_first_rows() -> None:
    """What a change of the order would show."""
    source = GivenRows(torch.arange(10.0)[:, None], seed=0)
    batch = next(source.batches(6, Position(1, 2)))
    assert batch.rows[""][:, 0].tolist() == [7, 5, 6, 9, 3, 2]
    assert batch.after == Position(1, 8)
