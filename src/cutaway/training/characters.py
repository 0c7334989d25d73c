"""A text file, one token for each of its characters: nanoGPT's character-level data (Karpathy).

The first part of the text is trained on, the end is held out. A batch is cut out at random places.
"""

from __future__ import annotations

import hashlib
import os
import urllib.request
from pathlib import Path

import numpy as np
from jaxtyping import Int
from tokenizers import Regex, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as Backend
from torch import Tensor

from ..files import write_bytes
from ..model.tokenizer import Tokenizer
from .config import SHAKESPEARE, TrainConfigError
from .source import TRAINED, Integers, Source, as_tensor, generator

URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
DIGEST = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
"""SHA-256 of the 1,115,394 characters that everyone means by tiny Shakespeare."""
_SECONDS = 30


def character_tokenizer(characters: str) -> Tokenizer:
    """A token for each character, in the order given; text with any other one is an error.

    Example:
        >>> character_tokenizer("abc").encode("cab")
        [2, 0, 1]
    """
    ids = {character: i for i, character in enumerate(characters)}
    backend = Backend(models.WordLevel(ids, unk_token="<|no such character|>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    backend.decoder = decoders.Fuse()
    return Tokenizer(backend, source="the character tokenizer")


def read_text(file: str) -> tuple[str, str]:
    """A text, and where it comes from: a file in UTF-8, or tiny Shakespeare by its name.

    Raises:
        TrainConfigError: the file is empty or not UTF-8, or what was fetched is something else.
        OSError: it is not there, or cannot be fetched.
    """
    if file == SHAKESPEARE:
        return _shakespeare().decode("utf-8"), "tiny Shakespeare (char-rnn)"
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"{file} does not exist: data.file is a text file in UTF-8.")
    try:
        return path.read_bytes().decode("utf-8"), path.name
    except UnicodeDecodeError as fault:
        raise TrainConfigError(
            f"{file} is not a text in UTF-8 (byte {fault.start}): convert it first."
        ) from fault


def cache_folder() -> Path:
    """Where the text is kept once it was fetched: `$XDG_CACHE_HOME/cutaway`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "cutaway"


def _shakespeare() -> bytes:
    """From the cache, or over the network; the digest is checked both times."""
    path = cache_folder() / "tinyshakespeare.txt"
    if path.is_file():
        return _checked(path.read_bytes(), path)
    try:
        with urllib.request.urlopen(URL, timeout=_SECONDS) as answer:
            data: bytes = answer.read()
    except OSError as fault:
        raise OSError(
            f"tiny Shakespeare is not in {path.parent} and cannot be fetched from {URL} "
            f"({getattr(fault, 'reason', fault)}): "
            "fetch it elsewhere and give its path as --data, or as data.file."
        ) from fault
    write_bytes(path, _checked(data, URL))
    return data


def _checked(data: bytes, source: str | Path) -> bytes:
    found = hashlib.sha256(data).hexdigest()
    if found != DIGEST:
        raise TrainConfigError(
            f"{source} is not tiny Shakespeare: its SHA-256 is {found[:16]}..., which should be "
            f"{DIGEST[:16]}...: remove it, or give the text's path as --data."
        )
    return data


def open_text(
    text: str, n_ctx: int, held_out_share: float, seed: int, origin: str = "a text"
) -> Source:
    """The source of a text.

    Raises:
        TrainConfigError: it is empty, or shorter than the context needs.

    Example:
        >>> open_text("To be, or not to be. " * 40, n_ctx=16, held_out_share=0.1, seed=0)
    """
    if not text:
        raise TrainConfigError(f"{origin} is empty: there is nothing to train on.")
    points = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    characters, tokens = np.unique(points, return_inverse=True)
    tokens = tokens.astype(np.int64)
    n_trained = int(len(tokens) * (1 - held_out_share))
    trained, held_out = tokens[:n_trained], tokens[n_trained:]
    for part, found, needed in (
        ("trained on", len(trained), n_ctx + 1),
        ("held out", len(held_out), 2 * n_ctx + 1),
    ):
        if found < needed:
            raise TrainConfigError(
                f"{origin} is too short for a context of {n_ctx}: of its {len(tokens)} characters "
                f"{found} are {part}, and it takes {needed}; give a longer text or a smaller n_ctx."
            )
    n_held_out = (len(held_out) - 1) // n_ctx
    places = np.arange(n_ctx + 1)

    def rows(step: int, size: int) -> Int[Tensor, "batch pos"]:
        starts = generator(seed, TRAINED, step).integers(0, len(trained) - n_ctx, size)
        return as_tensor(trained[starts[:, None] + places])

    windows: Integers = held_out[np.arange(n_held_out)[:, None] * n_ctx + places]
    alphabet = "".join(map(chr, characters.tolist()))
    return Source(
        character_tokenizer(alphabet),
        rows,
        as_tensor(windows),
        hashlib.sha256(text.encode("utf-8")).hexdigest(),
        prompt="\n" if "\n" in alphabet else alphabet[0],
        about={
            "text": origin,
            "characters": f"{len(trained):,} trained on, the last {len(held_out):,} held out",
            "vocabulary": f"{len(alphabet)} characters",
        },
    )
