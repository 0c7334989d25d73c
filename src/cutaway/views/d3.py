"""The parts of d3 that come with the package: see assets/vendor/README.md."""

from __future__ import annotations

D3 = tuple(
    f"vendor/d3-{part}.min"
    for part in ("array", "format", "interpolate", "scale", "selection", "axis")
)
"""For the assets of a view whose script uses `d3`, before the view's own; 62 kB together. Each
file adds to one global object, and expects those before it."""
