"""The pictures of the README, from a run: `make ioi`, then `.venv/bin/python docs/make_images.py`.

Writes docs/img/ioi-heads.png (the five lines of the README) and, where Chromium is on the PATH,
docs/img/report.png (the newest run's report).
"""

from __future__ import annotations

import shutil
from pathlib import Path

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


if __name__ == "__main__":
    heads()
    report()
