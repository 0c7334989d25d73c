"""Checks the shapes in the annotations while the tests run; conftest.py switches it on.

jaxtyping's import hook hands every function of the package to `check`. Only hints that hold a
jaxtyping shape are kept: mypy has already read the others, and the tests may break them on purpose
to see what the package says.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_args

from beartype import BeartypeConf, beartype
from jaxtyping import AbstractArray

# With the numeric tower an int may stand where a float is asked for, as it may for mypy.
_check = beartype(conf=BeartypeConf(is_pep484_tower=True))


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` with the shapes of its arguments and of its result checked at every call."""
    hints = inspect.get_annotations(function)
    if not any(has_shape(hint) for hint in hints.values()):
        return function
    function.__annotations__ = {
        name: hint if has_shape(hint) else Any for name, hint in hints.items()
    }
    return _check(function)


def has_shape(hint: Any) -> bool:
    """Whether a jaxtyping annotation stands anywhere in `hint`."""
    if inspect.isclass(hint) and issubclass(hint, AbstractArray):
        return True
    return any(has_shape(part) for part in get_args(hint))
