// Arrow keys walk over the cells of a grid; the row and column of the cell at hand are in bold.
(() => {
  "use strict";
  const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

  function setUp(table) {
    const rows = [...table.tBodies[0].rows].map((row) => [...row.querySelectorAll("td[tabindex]")]);
    const heads = [...table.tHead.querySelectorAll("th[data-column]")];

    const mark = (cell) => {
      for (const head of table.querySelectorAll("th.on")) head.classList.remove("on");
      if (!cell) return;
      cell.parentElement.querySelector("th").classList.add("on");
      heads[Number(cell.dataset.column)].classList.add("on");
    };

    const visit = (cell) => {
      table.querySelector("td[tabindex='0']").tabIndex = -1;
      cell.tabIndex = 0;
      cell.focus();
    };

    const cellOf = (event) => event.target.closest("td[tabindex]");

    table.addEventListener("keydown", (event) => {
      const cell = cellOf(event);
      if (!cell) return;
      const row = rows.findIndex((one) => one.includes(cell));
      const column = rows[row].indexOf(cell);
      const width = rows[row].length;
      const [down, right] = STEPS[event.key] ?? { Home: [0, -width], End: [0, width] }[event.key] ?? [];
      if (down === undefined) return;
      event.preventDefault();
      const within = (place, size) => Math.max(0, Math.min(size - 1, place));
      visit(rows[within(row + down, rows.length)][within(column + right, width)]);
    });
    table.addEventListener("pointerover", (event) => mark(cellOf(event)));
    table.addEventListener("pointerleave", () => mark(null));
    table.addEventListener("focusin", (event) => mark(cellOf(event)));
    table.addEventListener("focusout", () => mark(null));
  }

  for (const table of document.querySelectorAll(".cutaway table[role='grid']:not([data-ready])")) {
    table.dataset.ready = "";
    setUp(table);
  }
})();
