// Attention patterns: thumbnails to choose a head, tokens to point at, one pattern enlarged.
// All text is set as text, never as HTML; the weights come as one byte each.
(() => {
  "use strict";
  // From these weights on, letters on the shade are black in the dark theme, white in the light.
  const HALF = 0.54;
  const STRONG = 0.695;
  const LEAST_LABELLED = 10; // pixels: cells smaller than this get no token beside them
  const LABEL_HEIGHT = 12; // pixels from one label to the next

  const make = (name, className, text = "") =>
    Object.assign(document.createElement(name), { className, textContent: text });
  const visible = (token) =>
    token.replaceAll("\n", "↵").replaceAll("\t", "⇥").replace(/^ +/, (gap) => "·".repeat(gap.length));
  const short = (token) => (token.length > 10 ? `${token.slice(0, 9)}…` : token);
  const rounded = (weight) => weight.toFixed(2);

  function decode(example) {
    const text = atob(example.patterns);
    return { ...example, size: example.tokens.length, bytes: Uint8Array.from(text, (c) => c.charCodeAt(0)) };
  }

  // What the figure shows at the moment; `kept` was clicked, `pointed` is under the pointer.
  class State {
    constructor(data) {
      this.examples = data.examples.map(decode);
      this.labels = data.heads;
      this.layers = data.layers;
      this.scores = data.scores;
      this.head = 0;
      this.from = true;
      this.choose(0);
    }

    choose(place) {
      this.example = this.examples[place];
      this.kept = this.example.start;
      this.pointed = null;
    }

    get token() {
      return this.pointed ?? this.kept;
    }

    weight(query, key, head = this.head) {
      const { size, bytes, causal } = this.example;
      if (!causal) return bytes[(head * size + query) * size + key] / 255;
      if (key > query) return 0; // only the lower triangle is stored
      return bytes[(head * size * (size + 1) + query * (query + 1)) / 2 + key] / 255;
    }

    // What the token at hand looks at, or who looks at it: one weight for each token.
    weights() {
      return this.example.tokens.map((_, other) =>
        this.from ? this.weight(this.token, other) : this.weight(other, this.token),
      );
    }
  }

  function drawThumbnail(canvas, state, head, colour) {
    const size = state.example.size;
    canvas.width = canvas.height = size;
    const context = canvas.getContext("2d");
    context.fillStyle = colour;
    for (let query = 0; query < size; query++) {
      for (let key = 0; key < size; key++) {
        context.globalAlpha = state.weight(query, key, head);
        if (context.globalAlpha > 0) context.fillRect(key, query, 1, 1);
      }
    }
  }

  // Where the cells of the enlarged pattern lie, in CSS pixels.
  function layOut(context, state, width) {
    const size = state.example.size;
    const widest = Math.max(...state.example.tokens.map((t) => context.measureText(short(visible(t))).width));
    const gutter = Math.min(96, Math.ceil(widest) + 8);
    const roomy = Math.floor((width - gutter * 1.35) / size);
    if (roomy < LEAST_LABELLED) {
      return { cell: Math.max(1, width / size), left: 0, top: 0, labelled: false };
    }
    const cell = Math.min(roomy, 26);
    // The narrower the columns, the steeper their labels, so that they do not cover each other.
    const turn = Math.max(0.95, Math.asin(Math.min(1, LABEL_HEIGHT / cell)));
    const top = Math.ceil(gutter * (Math.sin(turn) + 0.04));
    return { cell, turn, left: gutter, top, labelled: true };
  }

  function drawLabels(context, state, place, inks) {
    const { cell, turn, left, top } = place;
    context.textBaseline = "middle";
    state.example.tokens.forEach((token, i) => {
      context.fillStyle = i === state.token ? inks.ink : inks.muted;
      context.textAlign = "right";
      context.fillText(short(visible(token)), left - 5, top + (i + 0.5) * cell);
      context.save();
      context.translate(left + (i + 0.5) * cell, top - 4);
      context.rotate(-turn);
      context.textAlign = "left";
      context.fillText(short(visible(token)), 0, 0);
      context.restore();
    });
  }

  function drawMatrix(canvas, state, inks) {
    const width = Math.floor(canvas.parentElement.clientWidth);
    const context = canvas.getContext("2d");
    context.font = inks.font;
    const place = layOut(context, state, width);
    const { cell, left, top } = place;
    const size = state.example.size;
    const side = cell * size;
    const ratio = window.devicePixelRatio || 1;
    const right = place.labelled ? Math.min(width, left + side + left * 0.6) : width;
    canvas.style.width = `${right}px`;
    canvas.style.height = `${top + side + 1}px`;
    canvas.width = Math.round(right * ratio);
    canvas.height = Math.round((top + side + 1) * ratio);
    context.scale(ratio, ratio);
    context.font = inks.font;
    context.fillStyle = inks.zero;
    context.fillRect(left, top, side, side);
    context.fillStyle = inks.look;
    const gap = cell > 5 ? 1 : 0;
    for (let query = 0; query < size; query++) {
      for (let key = 0; key < size; key++) {
        context.globalAlpha = state.weight(query, key);
        if (context.globalAlpha === 0) continue;
        context.fillRect(left + key * cell, top + query * cell, cell - gap, cell - gap);
      }
    }
    context.globalAlpha = 1;
    context.strokeStyle = inks.ink;
    context.lineWidth = 1.25;
    const offset = state.token * cell;
    if (state.from) context.strokeRect(left, top + offset - 0.5, side, cell);
    else context.strokeRect(left + offset - 0.5, top, cell, side);
    if (place.labelled) drawLabels(context, state, place, inks);
    return place;
  }

  function nameOf(state, place) {
    const token = make("code", "", visible(state.example.tokens[place]));
    const mark = state.example.marks[place];
    return mark ? [token, ` (${mark})`] : [token];
  }

  function writeReadout(box, state, weights) {
    const order = weights.map((_, i) => i).sort((a, b) => weights[b] - weights[a]);
    const top = order.slice(0, 4).filter((i) => weights[i] >= 0.01);
    const parts = [make("b", "", state.labels[state.head]), " · ", ...nameOf(state, state.token)];
    if (top.length) parts.push(state.from ? " looks at " : " is looked at by ");
    else parts.push(state.from ? " looks at nothing in particular." : " is looked at by no token.");
    top.forEach((i, rank) => {
      parts.push(...nameOf(state, i), ` ${rounded(weights[i])}`, rank < top.length - 1 ? ", " : ".");
    });
    box.replaceChildren(...parts);
  }

  class Explorer {
    constructor(figure) {
      this.find = (selector) => figure.querySelector(selector);
      this.figure = figure;
      this.state = new State(JSON.parse(this.find(".ct-data").textContent));
      this.buttons = [...figure.querySelectorAll(".ct-heads button")];
      this.notes = this.buttons.map((button) => button.querySelector("small")?.textContent);
      this.row = this.find(".ct-token-row");
      this.canvas = this.find(".ct-matrix canvas");
      this.listen();
      this.arrange();
      this.fillRow();
      this.recolour();
      new ResizeObserver(() => this.draw()).observe(this.canvas.parentElement);
    }

    // Canvases know no custom properties: read the theme's colours once per change.
    recolour() {
      const probe = this.figure.appendChild(make("span", "ct-hidden"));
      const read = (name) => {
        probe.style.color = `var(--${name})`;
        return getComputedStyle(probe).color;
      };
      const family = getComputedStyle(this.row).fontFamily;
      this.inks = { font: `11px ${family}` };
      for (const name of ["look", "ink", "muted", "zero"]) this.inks[name] = read(name);
      probe.remove();
      this.draw(true);
    }

    fillRow() {
      const { tokens, marks } = this.state.example;
      this.tokens = tokens.map((token, i) => {
        const button = make("button", "ct-token");
        button.type = "button";
        button.setAttribute("role", "option");
        button.append(make("small", "mark", marks[i] ?? "\u00a0"), make("span", "text on-colour", visible(token)), make("small", "weight"));
        return button;
      });
      this.row.replaceChildren(...this.tokens);
    }

    draw(thumbnails = false) {
      const weights = this.state.weights();
      this.tokens.forEach((button, i) => {
        button.style.setProperty("--t", weights[i].toFixed(3));
        button.classList.toggle("half", weights[i] > HALF);
        button.classList.toggle("strong", weights[i] > STRONG);
        button.classList.toggle("kept", i === this.state.kept);
        button.setAttribute("aria-selected", String(i === this.state.token));
        button.tabIndex = i === this.state.kept ? 0 : -1;
        button.lastChild.textContent = weights[i] >= 0.005 ? rounded(weights[i]) : "";
      });
      this.place = drawMatrix(this.canvas, this.state, this.inks);
      writeReadout(this.find(".ct-readout"), this.state, weights);
      if (!thumbnails) return;
      this.buttons.forEach((button, head) =>
        drawThumbnail(button.querySelector("canvas"), this.state, head, this.inks.look),
      );
    }

    // The heads that are shown, in order: by a score, or as given, then in rows by layer.
    arrange() {
      const { layers, scores } = this.state;
      const layer = this.find("select.layer")?.value ?? "";
      const order = this.find("select.order")?.value ?? "";
      let shown = this.buttons.map((_, head) => head).filter((head) => !layer || layers[head] === layer);
      if (order) {
        const score = scores[order];
        shown.sort((a, b) => (score[b] ?? -Infinity) - (score[a] ?? -Infinity));
      }
      this.buttons.forEach((button, head) => {
        const note = button.querySelector("small");
        if (note) note.textContent = order ? (scores[order][head]?.toFixed(2) ?? "n/a") : this.notes[head];
      });
      const isByLayer = layers.length > 0 && !order;
      const children = shown.flatMap((head, place) => {
        const starts = isByLayer && layers[head] !== layers[shown[place - 1]];
        return starts ? [make("span", "layer", `layer ${layers[head]}`), this.buttons[head]] : [this.buttons[head]];
      });
      this.find(".ct-heads").replaceChildren(...children);
      this.shown = shown;
      if (!shown.includes(this.state.head)) this.chooseHead(shown[0]);
    }

    chooseHead(head) {
      this.state.head = head;
      this.buttons.forEach((button, i) => {
        button.setAttribute("aria-checked", String(i === head));
        button.tabIndex = i === head ? 0 : -1;
      });
      this.draw();
    }

    point(place) {
      if (place === this.state.pointed) return;
      this.state.pointed = place;
      this.draw();
    }

    keep(place) {
      Object.assign(this.state, { kept: place, pointed: null });
      this.draw();
    }

    // The cell of the enlarged pattern under the pointer: the token that looks, or is looked at.
    cellAt(event) {
      const box = this.canvas.getBoundingClientRect();
      const { cell, left, top } = this.place;
      const query = Math.floor((event.clientY - box.top - top) / cell);
      const key = Math.floor((event.clientX - box.left - left) / cell);
      const size = this.state.example.size;
      if (Math.min(query, key) < 0 || Math.max(query, key) >= size) return null;
      return this.state.from ? query : key;
    }

    listen() {
      this.buttons.forEach((button, head) => button.addEventListener("click", () => this.chooseHead(head)));
      const inOrder = () => this.shown.map((head) => this.buttons[head]);
      walk(this.find(".ct-heads"), inOrder, (place) => this.chooseHead(this.shown[place]));
      const tokenOf = (event) => this.tokens.indexOf(event.target.closest(".ct-token"));
      this.row.addEventListener("pointerover", (event) => {
        const place = tokenOf(event);
        if (event.pointerType !== "touch") this.point(place < 0 ? null : place);
      });
      this.row.addEventListener("pointerleave", () => this.point(null));
      this.row.addEventListener("click", (event) => tokenOf(event) >= 0 && this.keep(tokenOf(event)));
      walk(this.row, () => this.tokens, (place) => this.keep(place));
      this.canvas.addEventListener("pointermove", (event) => this.point(this.cellAt(event)));
      this.canvas.addEventListener("pointerleave", () => this.point(null));
      this.canvas.addEventListener("click", (event) => {
        const place = this.cellAt(event);
        if (place !== null) this.keep(place);
      });
      // Elsewhere on the page, such as in a table, a head's name leads here.
      document.addEventListener("click", (event) => {
        const head = this.state.labels.indexOf(event.target.closest?.("[data-head]")?.dataset.head);
        if (head < 0) return;
        if (!this.shown.includes(head)) this.find("select.layer").value = "";
        this.arrange();
        this.chooseHead(head);
      });
      this.listenToChoices();
    }

    listenToChoices() {
      for (const name of ["layer", "order"]) {
        this.find(`select.${name}`)?.addEventListener("change", () => this.arrange());
      }
      this.find("select.prompt")?.addEventListener("change", (event) => {
        this.state.choose(Number(event.target.value));
        this.fillRow();
        this.draw(true);
      });
      for (const input of this.figure.querySelectorAll(".ct-controls input")) {
        input.name = `ct-direction-${Explorer.count}`; // two figures must not share their choice
        input.checked = input.value === "from";
        input.addEventListener("change", () => {
          this.state.from = input.value === "from";
          this.draw();
        });
      }
      Explorer.count += 1;
      document.addEventListener("change", (event) => event.target.name === "ct-theme" && this.recolour());
      window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.recolour());
    }
  }
  Explorer.count = document.querySelectorAll(".ct-attention[data-ready]").length;

  // The item nearest in the next line above (-1) or below (1); the one at hand where there is none.
  function beyond(items, here, side) {
    const centres = items.map((item) => {
      const box = item.getBoundingClientRect();
      return { x: box.left + box.width / 2, y: box.top + box.height / 2, height: box.height };
    });
    const { x, y, height } = centres[here];
    const away = centres.map((one) => side * (one.y - y));
    const next = Math.min(...away.filter((distance) => distance > height / 2));
    const line = away.flatMap((distance, i) => (Math.abs(distance - next) < height / 2 ? [i] : []));
    const aside = (i) => Math.abs(centres[i].x - x);
    return line.sort((a, b) => aside(a) - aside(b))[0] ?? here;
  }

  // Arrow keys, Home and End walk over the items and choose the one that is reached.
  function walk(box, items, choose) {
    const steps = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity };
    const sides = { ArrowUp: -1, ArrowDown: 1 };
    box.addEventListener("keydown", (event) => {
      const here = items().findIndex((item) => item.contains(event.target));
      if (here < 0 || !(event.key in steps || event.key in sides)) return;
      event.preventDefault();
      const there =
        event.key in sides
          ? beyond(items(), here, sides[event.key])
          : Math.max(0, Math.min(items().length - 1, here + steps[event.key]));
      choose(there);
      items()[there].focus();
    });
  }

  for (const figure of document.querySelectorAll(".ct-attention:not([data-ready])")) {
    figure.dataset.ready = "";
    new Explorer(figure);
  }
})();
