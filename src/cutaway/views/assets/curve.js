// Arrow keys walk over the points: left and right along a line, up and down between lines.
(() => {
  "use strict";

  function setUp(drawing) {
    const lines = [...drawing.querySelectorAll(".series")]
      .map((series) => [...series.querySelectorAll(".point")])
      .filter((points) => points.length);

    const nearest = (points, x) =>
      points.reduce((a, b) => (Math.abs(b.dataset.x - x) < Math.abs(a.dataset.x - x) ? b : a));

    drawing.addEventListener("keydown", (event) => {
      const point = event.target.closest(".point");
      const line = lines.findIndex((points) => points.includes(point));
      if (line < 0) return;
      const points = lines[line];
      const at = points.indexOf(point);
      const beside = (step) => lines[(line + step + lines.length) % lines.length];
      const next = {
        ArrowLeft: () => points[at - 1],
        ArrowRight: () => points[at + 1],
        Home: () => points[0],
        End: () => points.at(-1),
        ArrowUp: () => nearest(beside(-1), point.dataset.x),
        ArrowDown: () => nearest(beside(1), point.dataset.x),
      }[event.key]?.();
      if (!next) return;
      event.preventDefault();
      const itsLine = lines.find((one) => one.includes(next));
      for (const one of itsLine) one.tabIndex = one === next ? 0 : -1;
      next.focus();
    });
  }

  for (const drawing of document.querySelectorAll(".ct-curve-drawing:not([data-ready])")) {
    drawing.dataset.ready = "";
    setUp(drawing);
  }
})();
