// Pointing at a node or an edge shows what hangs on it; a click keeps it; arrow keys walk.
(() => {
  "use strict";
  const PART = ".node, .edge";
  const KINDS = ["positive", "negative", "both", "first", "second"];
  const partOf = (event) => (event.target.closest ? event.target.closest(PART) : null);

  // The panel of an edge stands where the pointer is, or half way along, not above the whole edge.
  function moveTip(x, y) {
    const panel = document.querySelector(".ct-tip");
    if (!panel || panel.hidden) return;
    const size = panel.getBoundingClientRect();
    const right = document.documentElement.clientWidth - size.width - 8;
    const left = Math.max(8, Math.min(x - size.width / 2, right));
    const top = y - size.height - 12 > 8 ? y - size.height - 12 : y + 16;
    panel.style.transform = `translate(${left}px, ${top}px)`;
  }

  function halfWay(edge) {
    const path = edge.querySelector(".line");
    const point = path.getPointAtLength(path.getTotalLength() / 2);
    return point.matrixTransform(path.getScreenCTM());
  }

  for (const kind of ["pointermove", "click"]) {
    document.addEventListener(kind, (event) => {
      const part = partOf(event);
      // A click by the keyboard has no place.
      if (part?.matches(".ct-circuit .edge") && event.clientX + event.clientY > 0) {
        moveTip(event.clientX, event.clientY);
      }
    });
  }
  document.addEventListener("focusin", (event) => {
    const part = partOf(event);
    if (!part?.matches(".ct-circuit .edge:focus-visible")) return;
    const { x, y } = halfWay(part);
    moveTip(x, y);
  });

  const element = (name, text, kind) => {
    const made = document.createElement(name);
    if (text) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };

  function list(title, edges) {
    const table = element("table");
    table.append(element("caption", `${title} (${edges.length})`));
    for (const edge of edges) {
      const row = table.insertRow();
      row.className = KINDS.find((kind) => edge.classList.contains(kind)) ?? "";
      const [name] = edge.dataset.tip.split("\n");
      row.append(element("td", name), element("td", edge.dataset.said));
    }
    return table;
  }

  function setUp(figure) {
    const drawing = figure.querySelector(".ct-circuit-drawing");
    const readout = figure.querySelector(".ct-circuit-readout");
    const nodes = [...drawing.querySelectorAll(".node")];
    const edges = [...drawing.querySelectorAll(".edge")].sort(
      (a, b) => a.dataset.rank - b.dataset.rank,
    );
    const atRest = [...readout.childNodes];
    let kept = null;
    let shown = null;

    const entering = (node) => edges.filter((e) => e.dataset.to.split(" ").includes(node.dataset.node));
    const leaving = (node) => edges.filter((e) => e.dataset.from === node.dataset.node);
    const touches = (edge, node) =>
      edge.dataset.from === node.dataset.node || edge.dataset.to.split(" ").includes(node.dataset.node);

    function tell(part) {
      if (!part) return readout.replaceChildren(...atRest);
      const [head, ...lines] = part.dataset.tip.split("\n");
      const content = [element("p", head, "head"), ...lines.map((line) => element("p", line))];
      if (part.matches(".node")) {
        const lists = element("div", "", "lists");
        const sides = [["in", entering(part)], ["out", leaving(part)]];
        lists.append(...sides.filter(([, found]) => found.length).map((side) => list(...side)));
        content.push(lists);
      }
      readout.replaceChildren(...content);
    }

    function show(part) {
      if (part === shown) return;
      shown = part;
      for (const one of drawing.querySelectorAll(".on, .at")) one.classList.remove("on", "at");
      drawing.classList.toggle("lit", Boolean(part));
      if (part) {
        part.classList.add("on", "at");
        const isNode = part.matches(".node");
        const its = isNode ? edges.filter((edge) => touches(edge, part)) : [part];
        for (const edge of its) {
          edge.classList.add("on");
          for (const node of nodes) if (touches(edge, node)) node.classList.add("on");
        }
      }
      tell(part);
    }

    function keep(part) {
      kept?.setAttribute("aria-pressed", "false");
      kept = part === kept ? null : part;
      kept?.setAttribute("aria-pressed", "true");
      show(kept ?? part);
    }

    function visit(part, group) {
      for (const one of group) one.tabIndex = one === part ? 0 : -1;
      part.focus();
    }

    const x = (node) => Number(node.dataset.x);
    const row = (node) => Number(node.dataset.row);

    function nodeBeside(node, key) {
      if (key === "Home" || key === "End") {
        const order = [...nodes].sort((a, b) => row(a) - row(b) || x(a) - x(b));
        return order.at(key === "Home" ? 0 : -1);
      }
      if (key === "ArrowLeft" || key === "ArrowRight") {
        const side = key === "ArrowRight" ? 1 : -1;
        const there = nodes.filter((one) => row(one) === row(node) && side * (x(one) - x(node)) > 0);
        return there.sort((a, b) => side * (x(a) - x(b)))[0];
      }
      const step = { ArrowUp: 1, ArrowDown: -1 }[key];
      const there = nodes.filter((one) => row(one) === row(node) + step);
      return there.sort((a, b) => Math.abs(x(a) - x(node)) - Math.abs(x(b) - x(node)))[0];
    }

    function edgeBeside(edge, key) {
      if (key === "Home" || key === "End") return edges.at(key === "Home" ? 0 : -1);
      return edges[edges.indexOf(edge) + (key === "ArrowRight" || key === "ArrowDown" ? 1 : -1)];
    }

    drawing.addEventListener("pointerover", (event) => show(partOf(event) ?? kept));
    drawing.addEventListener("pointerleave", () => show(kept));
    drawing.addEventListener("focusin", (event) => show(partOf(event)));
    drawing.addEventListener("focusout", () => show(kept));
    drawing.addEventListener("click", (event) => {
      const part = partOf(event);
      if (part) keep(part);
      else if (kept) keep(kept);
      if (!part) show(null);
    });
    drawing.addEventListener("keydown", (event) => {
      const part = partOf(event);
      if (!part) return;
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        keep(part);
      } else if (event.key === "Escape") {
        if (kept) keep(kept);
        show(null);
      } else if (/^(Arrow(Up|Down|Left|Right)|Home|End)$/.test(event.key)) {
        event.preventDefault();
        const isNode = part.matches(".node");
        const next = isNode ? nodeBeside(part, event.key) : edgeBeside(part, event.key);
        if (next) visit(next, isNode ? nodes : edges);
      }
    });
  }

  for (const figure of document.querySelectorAll(".ct-circuit:not([data-ready])")) {
    figure.dataset.ready = "";
    if (figure.querySelector(".ct-circuit-drawing")) setUp(figure);
  }
})();
