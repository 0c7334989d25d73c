// A cell with details opens them below its map, one cell at a time; Escape closes them.
(() => {
  "use strict";

  function setUp(figure, number) {
    const box = figure.querySelector(":scope > .ct-map-details");
    const cells = new Map();
    const folds = new Map();
    for (const fold of box.querySelectorAll(":scope > details")) {
      folds.set(fold.dataset.cell, fold);
      fold.id = `ct-cell-${number}-${fold.dataset.cell}`;
    }
    for (const cell of figure.querySelectorAll(".ct-map td[data-opens]")) {
      if (cell.closest(".ct-heatmap") !== figure) continue;
      cells.set(cell.dataset.opens, cell);
      cell.setAttribute("aria-expanded", "false");
      cell.setAttribute("aria-controls", folds.get(cell.dataset.opens).id);
    }

    const open = (name) => {
      for (const [its, fold] of folds) {
        fold.open = its === name;
        cells.get(its).setAttribute("aria-expanded", String(its === name));
      }
    };
    const isOpen = (name) => folds.get(name).open;
    const nameOf = (event) => event.target.closest?.("td[data-opens]")?.dataset.opens;

    const table = figure.querySelector(".ct-map");
    table.addEventListener("click", (event) => {
      const name = nameOf(event);
      if (name !== undefined) open(isOpen(name) ? null : name);
    });
    table.addEventListener("keydown", (event) => {
      const name = nameOf(event);
      if (name === undefined || !["Enter", " "].includes(event.key)) return;
      event.preventDefault();
      open(isOpen(name) ? null : name);
    });
    figure.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.defaultPrevented) return;
      const shown = [...folds.keys()].find(isOpen);
      if (shown === undefined) return;
      event.preventDefault();
      open(null);
      cells.get(shown).focus();
    });
    // Folding it by its own line is closing it.
    for (const [name, fold] of folds) {
      fold.addEventListener("toggle", () => cells.get(name).setAttribute("aria-expanded", String(fold.open)));
    }
  }

  let count = document.querySelectorAll(".ct-heatmap[data-folded]").length;
  for (const box of document.querySelectorAll(".ct-heatmap > .ct-map-details")) {
    const figure = box.parentElement;
    if ("folded" in figure.dataset) continue;
    figure.dataset.folded = "";
    setUp(figure, count++);
  }
})();
