"""nanoGPT and minGPT: a trained sorter with recorded intermediates, and files of each layout."""

from __future__ import annotations

import base64
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cutaway.model.loading import LoadError, load_checkpoint
from cutaway.model.transformer import HookedTransformer


def decode(entry: dict[str, Any]) -> Tensor:
    """A tensor as llm-viz writes it: base64 of float32, and a shape."""
    data = np.frombuffer(base64.b64decode(entry["data"]), dtype="<f4")
    return torch.from_numpy(data.copy()).reshape(entry["shape"])


@pytest.fixture(scope="module")
def sorter(shared: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """minGPT's state dict and configuration of the trained sorter."""
    folder = shared / "models/llmviz-nano-sort"
    values = json.loads((folder / "gpt-nano-sort-model.json").read_text())
    config = values.pop("config")
    return {name: decode(entry) for name, entry in values.items()}, config


@pytest.fixture(scope="module")
def recorded(shared: Path) -> dict[str, Tensor]:
    """What the first pass of the sorter computed elsewhere."""
    path = shared / "models/llmviz-nano-sort/gpt-nano-sort-t0-partials.json"
    values = json.loads(path.read_text())
    del values["config"]
    return {name: decode(entry) for name, entry in values.items()}


@pytest.fixture(scope="module")
def model(
    sorter: tuple[dict[str, Tensor], dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> HookedTransformer:
    path = tmp_path_factory.mktemp("sorter") / "model.pt"
    torch.save({"state_dict": sorter[0], "config": sorter[1]}, path)
    return HookedTransformer.from_pretrained_no_processing(path)


def after(norm: Any, normalized: Tensor) -> Tensor:
    """What a LayerNorm puts out: its own hook point is before w and b."""
    return normalized * norm.w + norm.b


def ours(model: HookedTransformer, tokens: Tensor) -> dict[str, Tensor]:
    """Our values under llm-viz' names and in its shapes; those without a number are of layer 0."""
    logits, cache = model.run_with_cache(tokens)
    q, k, v, z = (cache[name, 0] for name in "qkvz")  # [batch, pos, head, d_head]
    return {
        "idx": tokens.float(),
        "tok_emb": cache["embed"],
        "pos_emb": cache["pos_embed"][:1],
        "x": cache["resid_pre", 0],
        "ln1": after(model.blocks[0].ln1, cache["normalized", 0, "ln1"]),
        "q": q.transpose(1, 2),
        "k": k.transpose(1, 2),
        "v": v.transpose(1, 2),
        "qkv": torch.cat([value.flatten(2) for value in (q, k, v)], dim=-1),
        "att": cache["attn_scores", 0],
        "attSm": cache["pattern", 0],
        "y": z.flatten(2),
        "yProj": cache["attn_out", 0],
        "attnResid": cache["resid_mid", 0],
        "ln2": after(model.blocks[0].ln2, cache["normalized", 0, "ln2"]),
        "fc": cache["mlp_pre", 0],
        "gelu": cache["mlp_post", 0],
        "mlp": cache["mlp_out", 0],
        "mlpResid": cache["resid_post", 0],
        "block0": cache["resid_post", 0],
        "block1": cache["resid_post", 1],
        "block2": cache["resid_post", 2],
        "ln_f": after(model.ln_final, cache["ln_final.hook_normalized"]),
        "lm_head": logits,
        "probs": logits.softmax(-1),
    }


@torch.no_grad()
def test_every_recorded_intermediate_is_reproduced(
    model: HookedTransformer, recorded: dict[str, Tensor]
) -> None:
    computed = ours(model, recorded["idx"].long())
    assert set(computed) == set(recorded)
    assert torch.isinf(recorded["att"]).sum() == 3 * 3 * 55, "scores are recorded after the mask"
    for name, expected in recorded.items():
        torch.testing.assert_close(computed[name], expected, rtol=0, atol=1e-5, msg=name)


@torch.no_grad()
def test_the_sorter_sorts(model: HookedTransformer) -> None:
    """Six letters in, the same six sorted out: the model's last five continue the first."""
    numbers = torch.randint(0, 3, (20, 6), generator=torch.Generator().manual_seed(0))
    answer = numbers.sort(dim=-1).values
    out = model.generate(numbers, 5, temperature=0)
    # The context is 11, so the last of the six is read from the final logits.
    last = model(out)[:, -1].argmax(-1)
    assert torch.equal(torch.cat([out[:, 6:], last[:, None]], dim=1), answer)


@pytest.mark.parametrize("layout", ["state dict and type", "folder", "prefixes"])
def test_mingpt_in_other_forms(
    layout: str, sorter: tuple[dict[str, Tensor], dict[str, Any]], model: Any, tmp_path: Path
) -> None:
    state, config = sorter
    path = tmp_path / "model.pt"
    if layout == "state dict and type":  # the number of heads follows from the name
        torch.save({"state_dict": state, "config": {"model_type": "gpt-nano"}}, path)
    elif layout == "folder":  # as minGPT's setup_logging leaves it, where type says the shape
        torch.save(state, path)
        unset = {**config, "n_layer": None, "n_head": None, "n_embd": None}
        (tmp_path / "config.json").write_text(json.dumps({"system": {}, "model": unset}))
        path = tmp_path
    else:
        prefixed = {f"module._orig_mod.{name}": value for name, value in state.items()}
        torch.save({"state_dict": prefixed, "config": config}, path)
    loaded = HookedTransformer.from_pretrained_no_processing(path)
    tokens = torch.tensor([[0, 2, 1]])
    assert torch.equal(loaded(tokens), model(tokens))


def test_a_state_dict_without_the_number_of_heads(
    sorter: tuple[dict[str, Tensor], dict[str, Any]], model: HookedTransformer, tmp_path: Path
) -> None:
    path = tmp_path / "model.pt"
    torch.save(sorter[0], path)
    with pytest.raises(LoadError, match="does not say how many heads"):
        load_checkpoint(path)
    loaded = HookedTransformer.from_pretrained_no_processing(path, cfg=model.cfg)
    tokens = torch.tensor([[0, 2, 1]])
    assert torch.equal(loaded(tokens), model(tokens))


# ---- nanoGPT ----


class NanoBlock(torch.nn.Module):
    """The oracle, written out as plainly as possible: one block of nanoGPT."""

    def __init__(self, width: int, heads: int, bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.ln_1 = torch.nn.LayerNorm(width, bias=bias)
        self.ln_2 = torch.nn.LayerNorm(width, bias=bias)
        self.attn, self.mlp = torch.nn.Module(), torch.nn.Module()
        self.attn.c_attn = torch.nn.Linear(width, 3 * width, bias=bias)
        self.attn.c_proj = torch.nn.Linear(width, width, bias=bias)
        self.mlp.c_fc = torch.nn.Linear(width, 4 * width, bias=bias)
        self.mlp.c_proj = torch.nn.Linear(4 * width, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.attn.c_attn(self.ln_1(x)).chunk(3, dim=-1)
        outputs = []
        for qh, kh, vh in zip(*(t.chunk(self.heads, -1) for t in (q, k, v)), strict=True):
            scores = qh @ kh.mT / qh.shape[-1] ** 0.5
            future = torch.ones_like(scores[0]).triu(1).bool()
            outputs.append(scores.masked_fill(future, -torch.inf).softmax(-1) @ vh)
        x = x + self.attn.c_proj(torch.cat(outputs, -1))
        return x + self.mlp.c_proj(torch.nn.functional.gelu(self.mlp.c_fc(self.ln_2(x))))


class NanoGPT(torch.nn.Module):
    def __init__(self, bias: bool, width: int = 24, heads: int = 3, layers: int = 2) -> None:
        super().__init__()
        self.transformer = torch.nn.ModuleDict(
            {
                "wte": torch.nn.Embedding(17, width),
                "wpe": torch.nn.Embedding(10, width),
                "h": torch.nn.ModuleList(NanoBlock(width, heads, bias) for _ in range(layers)),
                "ln_f": torch.nn.LayerNorm(width, bias=bias),
            }
        )
        self.lm_head = torch.nn.Linear(width, 17, bias=False)
        self.lm_head.weight = self.transformer["wte"].weight

    def forward(self, tokens: Tensor) -> Tensor:
        parts = self.transformer
        x = parts["wte"](tokens) + parts["wpe"](torch.arange(tokens.shape[1]))
        for block in parts["h"]:
            x = block(x)
        return self.lm_head(parts["ln_f"](x))


@torch.no_grad()
@pytest.mark.parametrize("bias", [True, False])
def test_nanogpt_checkpoints(bias: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = NanoGPT(bias)
    for parameter in theirs.parameters():
        parameter.normal_(0.1, 0.3)
    checkpoint = {
        "model": {f"_orig_mod.{name}": value for name, value in theirs.state_dict().items()},
        "optimizer": {"state": {}, "param_groups": [{"lr": 1e-3}]},
        "model_args": {
            "n_layer": 2,
            "n_head": 3,
            "n_embd": 24,
            "block_size": 10,
            "bias": bias,
            "vocab_size": 17,
            "dropout": 0.0,
        },
        "iter_num": 100,
        "best_val_loss": torch.tensor(1.5),
        "config": {"out_dir": "out"},
    }
    torch.save(checkpoint, tmp_path / "ckpt.pt")
    tokens = torch.randint(0, 17, (3, 10))
    for path in (tmp_path, tmp_path / "ckpt.pt"):
        model = HookedTransformer.from_pretrained_no_processing(path)
        assert model.cfg.qkv_bias is bias
        assert model.cfg.tie_word_embeddings
        assert not model.cfg.default_prepend_bos
        torch.testing.assert_close(model(tokens), theirs(tokens), rtol=0, atol=1e-4)


def test_a_nanogpt_of_another_shape_is_named(tmp_path: Path) -> None:
    args = {"n_layer": 2, "n_head": 3, "n_embd": 24, "block_size": 12, "vocab_size": 17}
    path = tmp_path / "ckpt.pt"
    torch.save({"model": NanoGPT(True).state_dict(), "model_args": args}, path)
    with pytest.raises(LoadError, match=r"'wpe.weight' in .*ckpt.pt has the shape \[10, 24\]"):
        load_checkpoint(path)


# ---- pickles ----


class Configuration:
    """Stands for any class of another program."""


def test_a_pickle_with_more_than_tensors_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "ckpt.pt"
    torch.save({"model": {}, "model_args": {}, "config": Configuration()}, path)
    with pytest.raises(LoadError, match=r"ckpt.pt is a pickle with more .*Configuration"):
        load_checkpoint(tmp_path)
    path.write_bytes(pickle.dumps({"weights": Configuration()}, protocol=2))
    with pytest.raises(LoadError, match=r"ckpt.pt is a pickle with more"):
        load_checkpoint(path)


def test_a_damaged_pickle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ckpt.pt"
    torch.save({"model": {"a": torch.zeros(1000)}, "model_args": {}}, path)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(LoadError, match=r"ckpt.pt is not a whole file of torch.save"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "something else than a state dict"),
        ({"a": 1}, "something else than a state dict"),
        ({"encoder.weight": torch.zeros(2)}, "names of no known kind .*'encoder.weight'"),
        ({}, "names of no known kind"),
    ],
)
def test_a_pickle_of_something_else_is_named(content: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(content, path)
    with pytest.raises(LoadError, match=message):
        load_checkpoint(path)
