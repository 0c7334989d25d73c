"""What all tests share: settings of hypothesis, checked annotations, the shared folder, a browser.

Environment variables:
    HYPOTHESIS_PROFILE: `repeatable` (default: the same examples every time) or `search` (new and
        more examples, to look for what nobody has seen yet).
    CUTAWAY_CHECK_ANNOTATIONS: 0 turns the checks of jaxtyping's annotations off, which makes
        tracebacks shorter and the tests a little faster.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHECKOUT = Path(__file__).resolve().parents[1]

# No deadline: the first example of a test pays for torch's first use of a kernel.
# `make test` repeats the same few examples of a test that names no number; `make test-all` more.
for name, examples in (("repeatable", 40), ("thorough", 100)):
    settings.register_profile(
        name,
        derandomize=True,
        deadline=None,
        max_examples=examples,
        suppress_health_check=[HealthCheck.too_slow],
    )
settings.register_profile(
    "search",
    derandomize=False,
    deadline=None,
    max_examples=500,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

# The shapes in the annotations are checked here and not at run time (docs/architecture.md).
if os.environ.get("CUTAWAY_CHECK_ANNOTATIONS", "1") != "0":
    install_import_hook("cutaway", "annotations.check")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of models and data beside the checkout; the project does not contain it."""
    folder = CHECKOUT.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"needs the folder of shared models and data, {folder}")
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of the system's Chromium."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("needs `chromium` on the PATH (Debian: apt-get install chromium)")
    return path


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    """A running Chromium; use `page` unless a test needs contexts of its own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # --no-sandbox: the sandbox does not start for root, as in most containers. The pages
        # are our own.
        running = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A blank page without a network; an error in its console or its script fails the test."""
    context = browser.new_context(offline=True)
    fresh = context.new_page()
    errors: list[str] = []
    fresh.on("pageerror", lambda error: errors.append(f"script: {error}"))
    fresh.on(
        "console",
        lambda message: (
            errors.append(f"console: {message.text}") if message.type == "error" else None
        ),
    )
    yield fresh
    context.close()
    assert not errors, "\n".join(errors)
