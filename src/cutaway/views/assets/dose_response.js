// Dose and response, drawn by d3: choose a line, look at its single prompts, point at one of them.
(() => {
  "use strict";
  const WIDTHS = [340, 640]; // as wide as there is room, so that the type keeps its size
  const HEIGHT = 340;
  const MARGIN = { left: 56, right: 18, top: 12, bottom: 46 };
  const REACH = 24; // pixels: a prompt's line further away than this is not meant
  const NEAR = 4; // a coefficient is named as it was given, a value by so many figures
  const MARKS = [
    null,
    [[-3.2, -3.2], [3.2, -3.2], [3.2, 3.2], [-3.2, 3.2]],
    [[0, -4.6], [4.6, 0], [0, 4.6], [-4.6, 0]],
    [[0, -4.4], [4.2, 3.2], [-4.2, 3.2]],
    [[0, 4.4], [4.2, -3.2], [-4.2, -3.2]],
    [[-1.4, -4.4], [1.4, -4.4], [1.4, 4.4], [-1.4, 4.4]],
  ];

  const number = (value) => (value === null ? "n/a" : d3.format(`.${NEAR - 1}~g`)(value));
  const known = (values) => values.filter((value) => value !== null);

  // Straight from point to point, with a gap where one is missing.
  function path(spots) {
    let text = "";
    let pen = "M";
    for (const spot of spots) {
      if (spot) text += `${pen}${spot[0].toFixed(1)} ${spot[1].toFixed(1)}`;
      pen = spot ? "L" : "M";
    }
    return text;
  }

  function markPath(line, [x, y]) {
    const size = line.mark < 0 ? 2.2 : 3.6;
    const corners = line.mark < 0 ? null : MARKS[line.mark % MARKS.length];
    if (!corners) return `M${x - size} ${y}a${size} ${size} 0 1 0 ${2 * size} 0a${size} ${size} 0 1 0 ${-2 * size} 0z`;
    return `M${corners.map(([dx, dy]) => `${x + dx} ${y + dy}`).join("L")}z`;
  }

  class Chart {
    constructor(figure) {
      this.find = (selector) => figure.querySelector(selector);
      this.data = JSON.parse(this.find(".ct-data").textContent);
      this.buttons = [...figure.querySelectorAll(".ct-dose-lines button")];
      this.box = this.find(".ct-dose-controls input");
      this.readout = this.find(".ct-dose-readout");
      this.chosen = null; // the line whose button is pressed, null for all
      this.prompt = null; // the prompt that is pointed at or walked to, by its number
      this.dose = null; // the coefficient that was walked to
      for (const part of [".ct-dose-controls", ".ct-dose-live", ".ct-dose-readout"]) this.find(part).hidden = false;
      this.build(this.find(".ct-dose-live"));
      this.listen();
      this.fit();
      this.draw();
      new ResizeObserver(() => this.fit() && this.draw()).observe(this.find(".ct-dose-live"));
    }

    get line() {
      return this.chosen === null ? null : this.data.lines[this.chosen];
    }

    // The single prompts that are shown: none, or those of the chosen line.
    get prompts() {
      return this.line && this.box?.checked ? this.line.prompts : [];
    }

    build(box) {
      const { xLabel, yLabel } = this.data;
      const floor = HEIGHT - MARGIN.bottom;
      this.svg = d3
        .select(box)
        .append("svg")
        .attr("height", HEIGHT)
        .attr("role", "application")
        .attr("aria-label", `${yLabel} by ${xLabel}: up and down walk between prompts, left and right between coefficients`)
        .attr("tabindex", 0);
      this.up = this.svg.append("g").attr("class", "up").attr("transform", `translate(${MARGIN.left},0)`);
      this.across = this.svg.append("g").attr("transform", `translate(0,${floor})`);
      this.grounds = this.svg.append("g").attr("aria-hidden", "true");
      this.lines = this.svg.append("g");
      this.singles = this.svg.append("g").attr("aria-hidden", "true");
      this.spot = this.svg.append("circle").attr("class", "at-mark").attr("r", 4).attr("display", "none");
      const label = (text) => this.svg.append("text").attr("class", "label").attr("text-anchor", "middle").text(text);
      this.name = label(xLabel).attr("y", HEIGHT - 8);
      label(yLabel).attr("transform", `translate(14 ${(MARGIN.top + floor) / 2}) rotate(-90)`);
    }

    // The axis across is as long as there is room; while the box is hidden, as long as it may be.
    fit() {
      const room = this.svg.node().parentElement.clientWidth - 6 || WIDTHS[1];
      const width = Math.max(WIDTHS[0], Math.min(WIDTHS[1], Math.floor(room)));
      if (width === this.width) return false;
      this.width = width;
      this.right = width - MARGIN.right;
      this.svg.attr("width", width).attr("viewBox", `0 0 ${width} ${HEIGHT}`);
      this.name.attr("x", (MARGIN.left + this.right) / 2);
      return true;
    }

    // The axis up holds what is shown, so that single prompts do not squeeze the means at rest.
    scale() {
      const { lines, references } = this.data;
      const heights = references.map(([height]) => height);
      for (const line of lines) heights.push(...known([...line.mean, ...line.low, ...line.high]));
      for (const prompt of this.prompts) heights.push(...known(prompt));
      const doses = lines.flatMap((line) => line.x);
      const padded = ([low, high]) => {
        const spare = (high - low) * 0.04 || Math.abs(high) * 0.1 || 0.5;
        return [low - spare, high + spare];
      };
      this.x = d3.scaleLinear(padded(d3.extent(doses)), [MARGIN.left, this.right]);
      this.y = d3.scaleLinear(padded(d3.extent(heights)), [HEIGHT - MARGIN.bottom, MARGIN.top]).nice(6);
    }

    spots(line, values) {
      return values.map((value, i) => (value === null ? null : [this.x(line.x[i]), this.y(value)]));
    }

    draw() {
      this.scale();
      this.across.call(d3.axisBottom(this.x).ticks(this.width / 75).tickSizeOuter(0));
      this.up.call(d3.axisLeft(this.y).ticks(6).tickSize(MARGIN.left - this.right).tickPadding(7));
      this.drawReferences();
      // Controls behind, the chosen line in front; joined by name, so that focus survives.
      const rank = (line) => (line === this.line ? 2 : line.kind === "control" ? 0 : 1);
      const lines = [...this.data.lines].sort((a, b) => rank(a) - rank(b));
      this.lines
        .selectAll("g.series")
        .data(lines, (line) => this.data.lines.indexOf(line))
        .join((enter) => {
          const group = enter.append("g");
          group.append("path").attr("class", "shade");
          group.append("path").attr("class", "line");
          return group;
        })
        .order()
        .attr("class", (line) => `series ${line.kind}${this.line && line !== this.line ? " back" : ""}`)
        .each((line, i, groups) => this.drawLine(d3.select(groups[i]), line));
      this.drawPrompts();
    }

    drawReferences() {
      const { right } = this;
      const group = this.grounds.selectAll("g").data(this.data.references).join((enter) => {
        const made = enter.append("g");
        made.append("path").attr("class", "reference");
        made.append("text").attr("class", "tick words").attr("text-anchor", "end");
        return made;
      });
      group.select("path").attr("d", ([height]) => `M${MARGIN.left} ${this.y(height)}H${right}`);
      group.select("text").attr("x", right - 4).attr("y", ([height]) => this.y(height) - 4).text(([, words]) => words);
    }

    drawLine(group, line) {
      const high = this.spots(line, line.high);
      const low = this.spots(line, line.low);
      const whole = high.map((spot, i) => spot && low[i]);
      const band = path([...high.filter((_, i) => whole[i]), ...low.filter((_, i) => whole[i]).reverse()]);
      group.select(".shade").attr("d", band && `${band}z`);
      group.select(".line").attr("d", path(this.spots(line, line.mean)));
      const points = line.mean.map((mean, i) => ({ mean, i })).filter(({ mean }) => mean !== null);
      const point = group.selectAll("g.point").data(points).join((enter) => {
        const made = enter.append("g").attr("class", "point");
        made.append("circle").attr("class", "hit").attr("r", 9);
        made.append("path").attr("class", "mark");
        return made;
      });
      point.attr("data-tip", ({ mean, i }) => this.tip(line, mean, i));
      point.select(".hit").attr("cx", ({ i }) => this.x(line.x[i])).attr("cy", ({ mean }) => this.y(mean));
      point.select(".mark").attr("d", ({ mean, i }) => markPath(line, [this.x(line.x[i]), this.y(mean)]));
    }

    tip(line, mean, i) {
      const said = [line.name, `${this.data.xLabel} ${number(line.x[i])}`, `${this.data.yLabel} ${number(mean)}`];
      const ends = [line.low[i], line.high[i]];
      if (!ends.includes(null)) said.push(`${this.data.interval} [${ends.map(number).join(", ")}]`);
      return said.join("\n");
    }

    drawPrompts() {
      const line = this.line;
      const wrong = new Set(line?.wrong);
      this.singles
        .attr("class", `series ${line?.kind ?? ""}`)
        .selectAll("path")
        .data(this.prompts)
        .join("path")
        .attr("class", (_, i) => `prompt${wrong.has(i) ? " wrong" : ""}${i === this.prompt ? " at" : ""}`)
        .attr("d", (values) => path(this.spots(line, values)));
      this.singles.selectAll(".wrong, .at").raise();
      const value = this.prompts[this.prompt]?.[this.dose] ?? null;
      this.spot.attr("display", value === null ? "none" : null);
      if (value !== null) this.spot.attr("cx", this.x(line.x[this.dose])).attr("cy", this.y(value));
      this.tell(wrong);
    }

    tell(wrong) {
      const line = this.line;
      const bold = (text) => Object.assign(document.createElement("b"), { textContent: text });
      if (!line) {
        const hint = this.box ? "Choose a line to see its single prompts." : "";
        return this.readout.replaceChildren(hint);
      }
      if (!this.prompts.length) {
        const from = `${number(line.mean[0])} at ${number(line.x[0])}`;
        const to = `${number(line.mean.at(-1))} at ${number(line.x.at(-1))}`;
        return this.readout.replaceChildren(bold(line.name), `: mean ${this.data.yLabel} ${from}, ${to}.`);
      }
      if (this.prompt === null) {
        const key = Object.assign(document.createElement("span"), { className: "key" });
        const count = `: ${wrong.size} of ${line.prompts.length} prompts slope against the mean`;
        return this.readout.replaceChildren(bold(line.name), count, ...(wrong.size ? [" (", key, ")."] : ["."]));
      }
      const values = line.prompts[this.prompt].map((value, i) => `${number(value)} at ${number(line.x[i])}`);
      const name = this.data.labels[this.prompt] ?? `prompt ${this.prompt + 1}`;
      const against = wrong.has(this.prompt) ? " (against the mean)" : "";
      this.readout.replaceChildren(bold(name), `${against}: ${values.join(", ")}`);
    }

    choose(at) {
      this.chosen = at === 0 ? null : at - 1;
      this.prompt = this.dose = null;
      this.buttons.forEach((button, i) => {
        button.setAttribute("aria-checked", String(i === at));
        button.tabIndex = i === at ? 0 : -1;
      });
      if (this.box) this.box.disabled = !this.line?.prompts.length;
      this.draw();
    }

    point(prompt, dose = null) {
      if (prompt === this.prompt && dose === this.dose) return;
      Object.assign(this, { prompt, dose });
      this.drawPrompts();
    }

    // The prompt whose line passes nearest above or below the pointer.
    nearest(event) {
      const [x, y] = d3.pointer(event, this.svg.node());
      const doses = this.line.x;
      const dose = this.x.invert(x);
      const right = Math.max(1, Math.min(doses.length - 1, d3.bisectRight(doses, dose)));
      const share = doses.length > 1 ? (dose - doses[right - 1]) / (doses[right] - doses[right - 1]) : 0;
      if (share < -0.2 || share > 1.2) return null;
      const along = Math.max(0, Math.min(1, share));
      const away = this.prompts.map((values) => {
        const [a, b] = [values[right - 1], values[right] ?? values[right - 1]];
        return a === null || b === null ? Infinity : Math.abs(this.y(a + along * (b - a)) - y);
      });
      const least = d3.minIndex(away);
      return away[least] <= REACH ? least : null;
    }

    listen() {
      this.buttons.forEach((button, at) => {
        button.addEventListener("click", () => this.choose(at));
        button.addEventListener("keydown", (event) => {
          const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -at, End: this.buttons.length - 1 - at }[event.key];
          if (step === undefined) return;
          event.preventDefault();
          const there = Math.max(0, Math.min(this.buttons.length - 1, at + step));
          this.choose(there);
          this.buttons[there].focus();
        });
      });
      this.box?.addEventListener("change", () => {
        this.prompt = this.dose = null;
        this.draw();
      });
      const find = (event) => this.prompts.length && this.point(this.nearest(event));
      this.svg.on("pointermove", find).on("click", find);
      this.svg.on("pointerleave", () => this.point(null));
      this.svg.on("keydown", (event) => this.walk(event));
    }

    walk(event) {
      if (!this.prompts.length) return;
      if (event.key === "Escape") return this.point(null);
      const last = this.line.x.length - 1;
      // Up leads to the prompt that ends higher.
      const order = d3.range(this.prompts.length).sort((a, b) => d3.ascending(this.prompts[a][last], this.prompts[b][last]));
      const within = (at, size) => Math.max(0, Math.min(size - 1, at));
      const at = order.indexOf(this.prompt);
      const moves = {
        ArrowUp: () => [order[within(at + 1, order.length)], this.dose ?? last],
        ArrowDown: () => [order[within(at < 0 ? order.length - 1 : at - 1, order.length)], this.dose ?? last],
        ArrowLeft: () => [this.prompt ?? order[0], within((this.dose ?? last) - 1, last + 1)],
        ArrowRight: () => [this.prompt ?? order[0], within((this.dose ?? -1) + 1, last + 1)],
      };
      if (!(event.key in moves)) return;
      event.preventDefault();
      this.point(...moves[event.key]());
    }
  }

  for (const figure of document.querySelectorAll(".ct-dose:not([data-ready])")) {
    figure.dataset.ready = "";
    new Chart(figure);
  }
})();
