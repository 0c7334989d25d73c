"""How well words stand out from their ground, measured in the page (WCAG 2.2, contrast)."""

from __future__ import annotations

_HELPERS = """
  const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const light = (colour) => {
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  let least = 21;
  const compare = (word, ground) => {
    const pair = [light(word), light(ground)];
    least = Math.min(least, (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05));
  };
"""


def least_contrast(loop: str) -> str:
    """A function for `page.evaluate`: the least contrast that `loop` finds.

    Args:
        loop: JavaScript that calls compare(colour of the words, colour of the ground).
    """
    return f"() => {{{_HELPERS}{loop}\n  return least;\n}}"
