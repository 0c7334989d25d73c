"""SentencePiece's .model files (Kudo and Richardson 2018), read without the library itself.

Such a file is a protocol buffer: pieces with scores and kinds, how the pieces were trained (BPE or
unigram), and how text is normalised before it is cut.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, normalizers

from ..tokenizer import Tokenizer
from .checkpoint import LoadError

_SPACE = "\u2581"  # written in pieces in the place of a space
_UNKNOWN, _CONTROL, _BYTE = 2, 3, 6  # kinds of pieces; others are ordinary
_UNIGRAM, _BPE = 1, 2


@dataclass
class _Model:
    pieces: list[tuple[str, float, int]]  # text, score, kind
    algorithm: int = _UNIGRAM
    normalizer: str = ""
    space_in_front: bool = True
    single_spaces: bool = True


def load(path: Path) -> Tokenizer:
    """A `Tokenizer` that cuts text as SentencePiece does. Raises LoadError for another file."""
    try:
        model = _parse(path.read_bytes())
    except (IndexError, struct.error, UnicodeDecodeError) as fault:
        raise LoadError(f"{path} is not a whole SentencePiece model.") from fault
    if not model.pieces or model.algorithm not in (_UNIGRAM, _BPE):
        raise LoadError(f"{path} is not a SentencePiece model of kind unigram or BPE.")
    if model.normalizer not in ("", "identity"):
        raise LoadError(
            f"{path} normalises text by {model.normalizer!r}, which is not supported: convert it "
            "to a tokenizer.json."
        )
    backend = tokenizers.Tokenizer(_backend_model(model))
    backend.normalizer = _normalizer(model)
    backend.decoder = _decoder(model)
    backend.add_special_tokens([text for text, _, kind in model.pieces if kind == _CONTROL])
    return Tokenizer(backend, source=path)


def _backend_model(model: _Model) -> models.Model:
    unknown = next((i for i, piece in enumerate(model.pieces) if piece[2] == _UNKNOWN), None)
    bytes_known = any(kind == _BYTE for _, _, kind in model.pieces)
    if model.algorithm == _UNIGRAM:
        scored = [(text, score) for text, score, _ in model.pieces]
        return models.Unigram(scored, unk_id=unknown, byte_fallback=bytes_known)
    numbers = {text: i for i, (text, _, _) in enumerate(model.pieces)}
    return models.BPE(
        vocab=numbers,
        merges=_merges(model, numbers),
        unk_token=None if unknown is None else model.pieces[unknown][0],
        byte_fallback=bytes_known,
        fuse_unk=True,
    )


def _merges(model: _Model, numbers: dict[str, int]) -> list[tuple[str, str]]:
    """Every way to join two pieces into a third, the best-scored results first."""
    scores = {text: score for text, score, _ in model.pieces}
    found = []
    for text, score, kind in model.pieces:
        if kind in (_UNKNOWN, _CONTROL, _BYTE):
            continue
        halves = [(text[:i], text[i:]) for i in range(1, len(text))]
        known = [(a, b) for a, b in halves if a in scores and b in scores]
        known.sort(key=lambda pair: (numbers[pair[0]], numbers[pair[1]]))
        found += [(score, pair) for pair in known]
    found.sort(key=lambda entry: -entry[0])
    return [pair for _, pair in found]


def _normalizer(model: _Model) -> normalizers.Normalizer:
    steps: list[normalizers.Normalizer] = []
    if model.single_spaces:
        steps += [
            normalizers.Replace(tokenizers.Regex(" {2,}"), " "),
            normalizers.Replace(tokenizers.Regex("^ | $"), ""),
        ]
    if model.space_in_front:
        steps.append(normalizers.Prepend(_SPACE))
    steps.append(normalizers.Replace(" ", _SPACE))
    return normalizers.Sequence(steps)


def _decoder(model: _Model) -> decoders.Decoder:
    steps = [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if model.space_in_front:
        steps.append(decoders.Strip(" ", 1, 0))
    return decoders.Sequence(steps)


def _parse(data: bytes) -> _Model:
    model = _Model(pieces=[])
    for field, value in _fields(data):
        if not isinstance(value, bytes):
            continue
        if field == 1:
            model.pieces.append(_piece(value))
        elif field == 2:  # how it was trained
            model.algorithm = int(dict(_fields(value)).get(3, _UNIGRAM))
        elif field == 3:  # how text is normalised
            spec = dict(_fields(value))
            model.normalizer = bytes(spec.get(1, b"")).decode()  # type: ignore[arg-type]
            model.space_in_front = bool(spec.get(3, 1))
            model.single_spaces = bool(spec.get(4, 1))
    return model


def _piece(data: bytes) -> tuple[str, float, int]:
    fields = dict(_fields(data))
    text, score, kind = fields[1], fields.get(2, 0.0), fields.get(3, 1)
    return bytes(text).decode(), float(score), int(kind)  # type: ignore[arg-type]


def _fields(data: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """Number and value of each field of a protocol buffer message."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        field, kind = tag >> 3, tag & 7
        if kind == 0:
            number, at = _varint(data, at)
            yield field, number
        elif kind == 1:
            yield field, struct.unpack_from("<d", data, at)[0]
            at += 8
        elif kind == 2:
            length, at = _varint(data, at)
            if at + length > len(data):
                raise IndexError
            yield field, data[at : at + length]
            at += length
        elif kind == 5:
            yield field, struct.unpack_from("<f", data, at)[0]
            at += 4
        else:
            raise IndexError


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first; and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
