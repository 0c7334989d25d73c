// The logit-lens grid: the cell that is pointed at, walked to or kept lists its likeliest tokens.
(() => {
  "use strict";
  const make = (name, className, ...children) => {
    const made = document.createElement(name);
    made.className = className;
    made.append(...children);
    return made;
  };
  const visible = (token) =>
    token.replaceAll("\n", "↵").replaceAll("\t", "⇥").replace(/^ +/, (gap) => "·".repeat(gap.length));
  const token = (text) => make("code", "", visible(text));
  const probability = (p) => (p === null ? "n/a" : p > 0 && p < 0.001 ? "< 0.001" : p.toFixed(3));

  function describe(data, row, column) {
    const cell = row * data.columns.length + column;
    const target = data.targets?.[column] || null;
    const rows = Array.from({ length: data.k }, (_, place) => {
      const word = data.words[data.top[cell * data.k + place]];
      const p = data.p[cell * data.k + place];
      const bar = make("span", "bar");
      bar.style.setProperty("--t", p ?? 0);
      const kind = word === target ? "target" : "";
      return make("li", kind, token(word), bar, make("span", "figure", probability(p)));
    });
    const head = [`${data.axis} ${data.rows[row]}`.trim(), " · after ", token(data.columns[column])];
    return [make("p", "head", ...head), make("ol", "", ...rows), make("p", "", ...facts(data, cell, target))];
  }

  // The target's rank and probability, and the entropy, as far as they are known.
  function facts(data, cell, target) {
    const said = [];
    const rank = data.target_rank?.[cell] ?? null;
    const p = data.target_probability?.[cell] ?? null;
    const parts = [];
    if (rank !== null) parts.push(rank === 0 ? "rank 0, the top" : `rank ${rank} (0 is the top)`);
    if (p !== null) parts.push(`probability ${probability(p)}`);
    if (target !== null) said.push("target ", token(target), parts.length ? `: ${parts.join(", ")}` : "");
    else if (parts.length) said.push(`target: ${parts.join(", ")}`);
    const entropy = data.entropy?.[cell] ?? null;
    if (entropy !== null) said.push(said.length ? " · " : "", `entropy ${entropy.toFixed(2)} nats`);
    return said;
  }

  function setUp(figure, number) {
    const data = JSON.parse(figure.querySelector(".ct-data").textContent);
    const table = figure.querySelector(".ct-lens-grid");
    const readout = figure.querySelector(".ct-lens-readout");
    const atRest = [...readout.childNodes];
    let kept = null;

    const cellOf = (event) => event.target.closest?.("tbody td") ?? null;
    const show = (cell) => {
      if (!cell) return readout.replaceChildren(...atRest);
      const row = cell.parentElement.sectionRowIndex;
      readout.replaceChildren(...describe(data, row, Number(cell.dataset.column)));
    };
    const keep = (cell) => {
      kept?.classList.remove("kept");
      kept?.removeAttribute("aria-selected");
      kept = cell === kept ? null : cell;
      kept?.classList.add("kept");
      kept?.setAttribute("aria-selected", "true");
      show(kept ?? cell);
    };

    table.addEventListener("pointerover", (event) => show(cellOf(event) ?? kept));
    table.addEventListener("pointerleave", () => show(kept));
    table.addEventListener("focusin", (event) => show(cellOf(event) ?? kept));
    table.addEventListener("focusout", () => show(kept));
    table.addEventListener("click", (event) => cellOf(event) && keep(cellOf(event)));
    table.addEventListener("keydown", (event) => {
      const cell = cellOf(event);
      if (!cell) return;
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        keep(cell);
      } else if (event.key === "Escape" && kept) keep(kept);
    });

    // Two figures must not share their choice.
    for (const input of figure.querySelectorAll(".ct-choice input")) {
      input.name = `ct-lens-${number}`;
      input.checked = input.value === "top";
    }
  }

  let count = document.querySelectorAll(".ct-lens[data-ready]").length;
  for (const figure of document.querySelectorAll(".ct-lens:not([data-ready])")) {
    figure.dataset.ready = "";
    setUp(figure, count++);
  }
})();
