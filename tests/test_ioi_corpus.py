"""The training text of `ioi-mini`: what must be in it, and what must never be."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

import pytest
import torch

from cutaway.tasks import ioi_text
from cutaway.tasks.ioi_text import CANONICAL, NAMES, TRAINED_TEMPLATES, pair_is_held_out
from cutaway.training import ioi_sentences
from cutaway.training.ioi_compiled import REPEAT_LENGTHS
from cutaway.training.ioi_corpus import Corpus, Mixture
from cutaway.training.ioi_vocabulary import BOS, PAD, UNKNOWN, build_tokenizer, vocabulary

N = 3200  # sequences of 64: 204,800 tokens
TOKENS = vocabulary()


@cache
def sequences() -> torch.Tensor:
    return Corpus(seed=0).sequences(0, N)


@cache
def texts() -> tuple[str, ...]:
    return tuple(Corpus(seed=0).text(0, N))


def documents() -> list[str]:
    return [document for text in texts() for document in text.split(BOS)[1:]]


def only(kind: str, **settings: float) -> Mixture:
    weights = dict.fromkeys(("ioi", "gift", "scene", "set_piece", "repeat"), 0.0)
    return Mixture(**{**weights, kind: 1.0, **settings})


# --- the stream


def test_a_sequence_depends_on_the_seed_and_its_number_alone() -> None:
    corpus = Corpus(seed=3)
    assert torch.equal(
        torch.cat([corpus.batch(300), corpus.batch(700), corpus.batch(1)]),
        Corpus(seed=3).sequences(0, 1001),
    )
    assert torch.equal(Corpus(seed=3).sequences(700, 5), Corpus(seed=3).sequences(698, 9)[2:7])
    assert not torch.equal(Corpus(seed=4).batch(8), Corpus(seed=3).batch(8))


def test_the_stream_can_be_resumed() -> None:
    corpus = Corpus(seed=1)
    corpus.batch(10)
    resumed = Corpus(seed=1)
    resumed.position = corpus.position
    assert torch.equal(resumed.batch(4), corpus.batch(4))


@pytest.mark.parametrize("n_ctx", [8, 33, 64, 128])
def test_sequences_are_full_and_start_with_bos(n_ctx: int) -> None:
    batch = Corpus(n_ctx=n_ctx).batch(64)
    assert batch.shape == (64, n_ctx)
    assert batch.dtype == torch.long
    assert (batch[:, 0] == TOKENS.index(BOS)).all()


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match=r"Mixture\.gift=-1 is negative"):
        Corpus(mixture=Mixture(gift=-1))
    with pytest.raises(ValueError, match="must be positive"):
        Corpus(mixture=only("ioi", ioi=0.0))
    with pytest.raises(ValueError, match="no 0 sequences"):
        Corpus().batch(0)


# --- its words


def test_every_token_is_taught_and_none_is_unknown() -> None:
    found = set(sequences().unique().tolist())
    assert found == set(range(len(TOKENS))) - {TOKENS.index(PAD), TOKENS.index(UNKNOWN)}


def test_text_and_tokens_are_two_forms_of_the_same() -> None:
    tokenizer = build_tokenizer()
    plain = Corpus(mixture=Mixture(repeat=0.0))
    for text, tokens in zip(plain.text(0, 200), plain.sequences(0, 200).tolist(), strict=True):
        assert tokenizer.encode(text).ids == tokens


def test_every_word_of_the_task_is_in_the_vocabulary() -> None:
    tokenizer = build_tokenizer()
    for template in (*ioi_text.TEMPLATES, CANONICAL):
        words = {"first": "John", "second": "Mary", "subject": "John"}
        text = template.fill({**words, "place": "store", "object": "drink"})
        assert UNKNOWN not in tokenizer.encode(text).tokens
    for word in (*NAMES, *ioi_text.PLACES, *ioi_text.OBJECTS):
        assert f" {word}" in TOKENS
    assert {"Mary", "When"} < set(TOKENS)


def test_slots_and_their_lists_fit() -> None:
    for leader, words in ioi_sentences.ALIGNED.values():
        listed = NAMES if leader in ("a", "b") else ioi_sentences.LISTS[leader]
        assert len(words) == len(listed)


# --- what is held out


def test_held_out_pairs_never_share_a_sequence() -> None:
    spaced = {TOKENS.index(f" {name}"): name for name in NAMES}
    bare = {TOKENS.index(name): name for name in NAMES}
    name_of = {**spaced, **bare}
    partners = {a: {b for b in NAMES if a != b and pair_is_held_out(a, b)} for a in NAMES}
    met = set()
    for row in sequences().tolist():
        cast = {name_of[token] for token in row if token in name_of}
        for name in cast:
            assert not cast & partners[name]
            met.update((name, other) for other in cast if other != name)
    seen = sum(len(NAMES) - 1 - len(partners[name]) for name in NAMES)
    assert len(met) > 0.99 * seen  # and the other pairs do meet


def test_held_out_templates_never_occur() -> None:
    held_out = (*ioi_text.HELD_OUT_TEMPLATES, CANONICAL)
    slot = r"\w+"
    patterns = [
        template.text.format(first=slot, second=slot, subject=slot, place=slot, object=slot)
        for template in held_out
    ]
    text = "\n".join(texts())
    assert not any(re.search(pattern, text) for pattern in patterns)


# --- its parts


def ioi_matches() -> list[tuple[str, re.Match[str]]]:
    """IOI sentences in the text, those as the template has them: (template id, match)."""
    found = []
    for template in TRAINED_TEMPLATES:
        names = {"first": "first", "second": "second", "subject": "subject"}
        slots = {k: rf"(?P<{k}>\w+)" for k in names} | {"place": r"\w+", "object": r"\w+"}
        pattern = re.compile(template.text.format(**slots) + r" (?P<answer>\w+)\.")
        found += [(template.id, m) for text in texts() for m in pattern.finditer(text)]
    return found


def test_ioi_sentences_have_the_right_answer_in_both_orders() -> None:
    orders: Counter[str] = Counter()
    for _, match in ioi_matches():
        first, second, subject, answer = match.group("first", "second", "subject", "answer")
        if subject in (first, second):
            assert answer == (second if subject == first else first)
            orders["BABA" if subject == first else "ABBA"] += 1
        else:  # a third person gives
            assert answer in (first, second)
            orders["third, first" if answer == first else "third, second"] += 1
    for one, other in (("ABBA", "BABA"), ("third, first", "third, second")):
        n = orders[one] + orders[other]
        assert abs(orders[one] - orders[other]) < 4 * n**0.5  # even odds, four standard deviations
    third = orders["third, first"] + orders["third, second"]
    assert third / orders.total() == pytest.approx(Mixture().third_giver, abs=0.04)


def test_every_training_template_occurs() -> None:
    assert {name for name, _ in ioi_matches()} == {template.id for template in TRAINED_TEMPLATES}


def test_an_ioi_sentence_is_the_most_frequent_beginning() -> None:
    starts = re.compile(
        "|".join(re.split(r" ?\{", template.text)[0] + " " for template in TRAINED_TEMPLATES)
    )
    verbs = "|".join((*ioi_sentences.LISTS["transfer"], "gives", "tossed"))
    whole = re.compile(rf"({verbs}) (it|(a|the)( \w+)?( \w+))( of \w+)? to \w+\.")
    first = [text.split(BOS)[1] for text in texts()]
    share = sum(bool(starts.match(d) and whole.search(d)) for d in first) / len(first)
    assert 0.3 < share < 0.6


def test_the_giver_is_often_not_the_last_name_before_the_answer() -> None:
    names = "|".join(NAMES)
    text = "\n".join(texts())
    owned = re.findall(rf" the \w+ of ({names}) to ({names})\.", text)
    turned = re.findall(rf"({names}) smiled at ({names}) and \w+ (?:it|a \w+) to ({names})\.", text)
    assert len(owned) > 100 and all(owner != answer for owner, answer in owned)
    assert len(turned) > 100 and all(seen == answer != who for who, seen, answer in turned)


def test_repeated_tokens_are_repeated() -> None:
    corpus = Corpus(mixture=only("repeat"))
    bos = TOKENS.index(BOS)
    lengths = set()
    for row in corpus.batch(200).tolist():
        end = row.index(bos, 1)
        body = row[1:end]
        assert body[: len(body) // 2] == body[len(body) // 2 :]
        lengths.add(len(body) // 2)
    assert lengths == set(REPEAT_LENGTHS)


@pytest.mark.parametrize("kind", ["ioi", "gift", "scene", "set_piece"])
def test_each_kind_alone_is_made_of_sentences(kind: str) -> None:
    for text in Corpus(mixture=only(kind)).text(0, 50):
        for document in text.split(BOS)[1:-1]:
            assert document[0].isupper()
            assert document[-1] in ".?"


def test_the_facts_about_a_person_are_always_the_same() -> None:
    facts: dict[str, set[str]] = {}
    for document in documents():
        for name, colour in re.findall(r"(\w+) likes (\w+) things", document):
            facts.setdefault(name, set()).add(colour)
    assert len(facts) > 80
    assert all(len(colours) == 1 for colours in facts.values())
