"""The pictures of the README, from a run: `make ioi`, then `.venv/bin/python docs/make_images.py`.

Writes docs/img/ioi-heads.png (the five lines of the README) and, where Chromium is on the PATH,
docs/img/report.png (the newest run's report) and docs/img/attention.png (for docs/views.md).
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

import cutaway as ca

IMAGES = Path(__file__).parent / "img"


def heads() -> None:
    """The README's five lines."""
    model = ca.HookedTransformer.from_pretrained("ioi-mini")
    task = ca.tasks.ioi(model, n_prompts=64, corruption="s2-flip", seed=0)
    effects = ca.sweep(model, task, "z")
    figure = effects.plot("Effect of each head of ioi-mini: share of the answer restored")
    figure.savefig(IMAGES / "ioi-heads.png", dpi=110)


def report() -> None:
    """The report's sections on heads and on attention."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return
    from playwright.sync_api import sync_playwright

    page_file = ca.load_run("latest").report.resolve()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1180, "height": 900})
        page.goto(page_file.as_uri())
        page.get_by_role("heading", name="Which heads").scroll_into_view_if_needed()
        page.get_by_role("heading", name="Which heads").evaluate(
            "heading => window.scrollTo(0, heading.getBoundingClientRect().top + scrollY - 24)"
        )
        page.screenshot(path=IMAGES / "report.png")
        browser.close()


def attention() -> None:
    """Four heads of ioi-mini on one sentence."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return
    from playwright.sync_api import sync_playwright

    from cutaway.views import AttentionExample, AttentionView

    model = ca.HookedTransformer.from_pretrained("ioi-mini")
    text = "One day Anna sat next to Paul in the zoo. After some time Paul lent a key to"
    _, cache = model.run_with_cache(text)
    heads = ((0, 3), (1, 2), (1, 5), (2, 5))
    patterns = torch.stack([cache["pattern", layer][0, head] for layer, head in heads])
    example = AttentionExample(patterns.numpy(), model.to_str_tokens(text))
    view = AttentionView((example,), tuple(f"{layer}.{head}" for layer, head in heads))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 960, "height": 460})
        page.set_content(view.page_html())
        page.locator(".ct-heads button").nth(2).click()
        page.locator(".ct-attention").screenshot(path=IMAGES / "attention.png")
        browser.close()


if __name__ == "__main__":
    heads()
    report()
    attention()
