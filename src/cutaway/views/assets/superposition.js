// One stop of the Tab key for each drawing; the arrow keys go to the nearest mark on that side.
(() => {
  "use strict";
  const STEPS = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };

  const middle = (mark) => {
    const box = mark.getBoundingClientRect();
    return [box.left + box.width / 2, box.top + box.height / 2];
  };

  // The nearest mark ahead; what lies off the line counts twice.
  function ahead(marks, from, [right, down]) {
    const [x, y] = middle(from);
    let best = null;
    let least = Infinity;
    for (const mark of marks) {
      const [a, b] = middle(mark);
      const forward = (a - x) * right + (b - y) * down;
      if (mark === from || forward <= 0.5) continue;
      const far = forward + 2 * Math.abs((a - x) * down + (b - y) * right);
      if (far < least) [best, least] = [mark, far];
    }
    return best;
  }

  function setUp(drawing) {
    const marks = [...drawing.querySelectorAll("[data-tip]")];
    for (const mark of marks) mark.setAttribute("tabindex", mark === marks[0] ? 0 : -1);
    drawing.addEventListener("keydown", (event) => {
      const mark = event.target.closest("[data-tip]");
      const step = STEPS[event.key];
      if (!mark || !step) return;
      event.preventDefault();
      const next = ahead(marks, mark, step);
      if (!next) return;
      mark.setAttribute("tabindex", -1);
      next.setAttribute("tabindex", 0);
      next.focus();
    });
  }

  for (const drawing of document.querySelectorAll(".ct-toy svg.walk:not([data-ready])")) {
    drawing.dataset.ready = "";
    setUp(drawing);
  }
})();
