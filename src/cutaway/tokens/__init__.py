"""Tokens: what can be said of the next one from the tokens before it alone, by counting."""

from .ngrams import NGrams as NGrams
from .ngrams import fit_ngrams as fit_ngrams
