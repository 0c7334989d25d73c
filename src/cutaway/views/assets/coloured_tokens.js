// Arrow keys walk along a coloured text.
(() => {
  "use strict";
  const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity };

  for (const row of document.querySelectorAll(".ct-coloured:not([data-ready])")) {
    row.dataset.ready = "";
    const tokens = [...row.querySelectorAll(".ct-token")];
    row.addEventListener("keydown", (event) => {
      const here = tokens.indexOf(event.target.closest(".ct-token"));
      if (here < 0 || !(event.key in STEPS)) return;
      event.preventDefault();
      const there = Math.max(0, Math.min(tokens.length - 1, here + STEPS[event.key]));
      tokens[here].tabIndex = -1;
      tokens[there].tabIndex = 0;
      tokens[there].focus();
    });
  }
})();
