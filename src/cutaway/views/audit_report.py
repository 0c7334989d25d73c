"""The page of `cutaway audit kv`: what a cache holds, what grows, what fits."""

from __future__ import annotations

from . import audit_parts as part
from . import audit_sentences as say
from .audit_data import OURS, AuditData, Measured, size
from .key_numbers import KeyNumber, KeyNumbers
from .layout import Disclosure, Items, Note, Section
from .origin_section import how_it_was_made
from .page import Page

_REFERENCES = (
    "Shazeer 2019, Fast Transformer Decoding: One Write-Head is All You Need, arXiv:1911.02150: "
    "why reading the cache is what costs, and sharing keys and values among heads.",
    "Ainslie et al. 2023, GQA, arXiv:2305.13245: grouped key-value heads.",
    "Pope et al. 2022, Efficiently Scaling Transformer Inference, arXiv:2211.05102, section 2: "
    "the memory of the cache.",
    "Kwon et al. 2023, PagedAttention, arXiv:2309.06180: allocated and filled apart.",
    "Radford et al. 2019; Biderman et al. 2023; Touvron et al. 2023; Jiang et al. 2023: shapes.",
)
_CAUTIONS = (
    "Allocated is not filled. A cache that is made for the whole context costs all of it from the "
    "first token on; the formula is what is filled.",
    "Storages are counted, not pages of the machine. An allocator rounds up, keeps what is freed "
    "for later and leaves gaps, so a process takes more than the sum of its tensors.",
    "Kernels allocate within. Interception sees what operations return, not their scratch memory.",
    "A view keeps its whole storage: a hook that keeps x[:, -1] keeps x.",
    "Padding takes room like any token, and beams are sequences: five beams, five times the cache.",
    "A sliding window does not make this cache smaller: what has left the window is kept.",
    "The most at once depends on device and attention kernel. An attention that writes the pattern "
    "out, as it does where a hook reads it, needs heads × tokens² more.",
)


def audit_report(data: AuditData) -> Page:
    """The report of `cutaway audit kv`.

    Args:
        data: everything counted; of a shape alone only what is foretold.

    Example:
        >>> audit_report(data).html()  # doctest: +SKIP
    """
    found = data.measured
    page = Page(
        f"The memory of {data.model}",
        "How many bytes do its caches hold, layer by layer, as a sequence grows, and what fits?",
        facts=(
            ("model", data.model),
            ("layers", str(data.n_layers)),
            ("key-value heads", f"{data.n_key_value_heads} of {data.n_heads}"),
            ("format", data.dtype),
            ("measured", "no: shape only" if found is None else "yes"),
        ),
        footer="Written by Cutaway. This file needs no network and fetches nothing.",
    )
    page.add(_in_short(data))
    if found is not None:
        page.add(_growing(data, found), _caches(found), _activations(found), _at_most(found))
    page.add(_before(data), _others(data), _method(data))
    return page


def _in_short(data: AuditData) -> Section:
    found = data.measured
    last = data.last
    if found is None:
        numbers = [
            KeyNumber("Per token", f"{data.per_token:,} B", "keys and values, foretold"),
            KeyNumber("Cache", size(last.kv_cache), f"at {last.n_tokens:,} tokens"),
            KeyNumber("Weights", size(last.weights), f"{data.n_parameters:,} parameters"),
        ]
    else:
        audit = found.in_chunks
        numbers = [
            KeyNumber("Per token", f"{audit.bytes_per_token:,.0f} B", "keys and values, measured"),
            KeyNumber("Cache", size(audit.filled[-1].sum()), f"at {audit.tokens[-1]:,} tokens"),
            KeyNumber("Not accounted for", f"{part.excess_total(found):,} B", "in any layer"),
            KeyNumber("Weights", size(found.weights.n_bytes), "shared ones once"),
        ]
    cautions = Disclosure("When this misleads", *_CAUTIONS)
    return Section("In short", KeyNumbers(tuple(numbers)), Items(say.findings(data)), cautions)


def _growing(data: AuditData, found: Measured) -> Section:
    return Section(
        "As the sequence grows",
        f"{say.formula(data)}. Every tensor operation of the real forward pass was intercepted: a "
        "byte counts as filled if a layer was seen to write data to it and it is still held when "
        "the call is over.",
        part.total_curve(found),
        part.layer_map(found),
        part.steps_table(found),
        Note("finding", say.cache(data, found)),
    )


def _caches(found: Measured) -> Section:
    n = int(found.caches[OURS].tokens[-1])
    return Section(
        "Other ways to keep a cache",
        "Instead of allocating once, a cache can grow: each layer's keys and values are replaced "
        "by tensors that are one token longer. It never holds more than is filled, but old and new "
        f"are there at once, and all of it is copied at every token. The first {n} tokens, one at "
        "a time:",
        part.caches_table(found),
        part.caches_curve(found),
        Note("finding", say.growth(found)),
        Note("finding", say.control(found)),
    )


def _activations(found: Measured) -> Section:
    return Section(
        "What run_with_cache keeps",
        "Looking into a model costs more than running it: every value is copied. Where one value "
        "passes two hook points (the stream after a layer and before the next), one copy serves "
        "both.",
        part.activation_bars(found),
        part.activation_table(found),
        Note("finding", say.activations(found)),
    )


def _at_most(found: Measured) -> Section:
    return Section(
        "Weights, and the most at once",
        part.weights_rows(found),
        Note("finding", say.weights(found)),
        part.passes_table(found),
        Note("finding", say.passes(found)),
    )


def _before(data: AuditData) -> Section:
    return Section(
        "Before it is run",
        "By formula, from the configuration alone. Weights, cache and activations are exact; what "
        "a pass holds in passing is an estimate.",
        part.prediction_table(data),
        Note("finding", say.fits(data)),
    )


def _others(data: AuditData) -> Section:
    return Section("Other models", part.others_table(data))


def _method(data: AuditData) -> Section:
    return how_it_was_made(
        data.settings,
        data.timings,
        Disclosure(
            "How the figures are computed",
            "A dispatch mode of torch sees every operation: storages that an operation makes are "
            "followed by weak references until nothing holds them, and writes into them are noted "
            "with the layer that ran. Bytes of a layer are the union of the byte ranges of its "
            "tensors.",
            "Bytes are counted and not sampled: there are no intervals. Tokens are random, since "
            "nothing here depends on which they are.",
        ),
        references=_REFERENCES,
    )
