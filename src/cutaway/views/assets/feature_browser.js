// Features of a dictionary: the list can be searched and sorted, and shows the one that is chosen.
(() => {
  "use strict";
  const NOTHING = 65535;
  const LEVELS = 255;
  const HALF = 0.54; // from these shares on, letters turn black in the dark theme,
  const STRONG = 0.695; // and white in the light, as in tables (views/table.py)
  const make = (name, className, ...children) => {
    const made = document.createElement(name);
    made.className = className;
    made.append(...children);
    return made;
  };
  const visible = (token) =>
    token.replaceAll("\n", "↵").replaceAll("\t", "⇥").replace(/^ +/, (gap) => "·".repeat(gap.length));
  const figures = (value) => String(value).replace("-", "−");
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

  class Browser {
    constructor(figure) {
      this.figure = figure;
      this.find = (selector) => figure.querySelector(selector);
      this.data = JSON.parse(this.find(".ct-data").textContent);
      const packed = bytes(this.data.tokens);
      const view = new DataView(packed.buffer);
      this.token = (at) => view.getUint16(2 * at, true); // as it is written, whatever the machine
      this.levels = bytes(this.data.levels);
      this.body = this.find(".ct-feature-list tbody");
      this.rows = [...this.body.rows];
      this.texts = this.rows.map((row, feature) => this.searched(row, feature));
      this.detail = this.find(".ct-feature-detail");
      this.chosen = null;
      this.find(".ct-feature-controls").hidden = false;
      figure.classList.add("live");
      this.listen();
      this.sift();
      this.fromAddress();
    }

    // What a search looks through: the row, and the tokens that the feature is strongest on.
    searched(row, feature) {
      const [, examples, width] = this.data.shape;
      const words = [];
      for (let example = 0; example < examples && this.data.band[example] === 0; example++) {
        const token = this.token((feature * examples + example) * width + this.data.before);
        if (token !== NOTHING) words.push(this.data.words[token]);
      }
      return `${row.textContent} ${words.join(" ")}`.toLowerCase();
    }

    listen() {
      const [search, kind, order] = [".search", ".kind", ".order"].map(this.find);
      search.addEventListener("input", () => this.sift());
      kind.addEventListener("change", () => this.sift());
      order.addEventListener("change", () => this.sort(Number(order.value)));
      this.body.addEventListener("click", (event) => {
        const row = event.target.closest("tr");
        if (!row || event.target.closest("a")) return;
        location.hash = this.name(row);
      });
      this.body.addEventListener("keydown", (event) => this.walk(event));
      addEventListener("hashchange", () => this.fromAddress());
    }

    name(row) {
      return row.querySelector("a").getAttribute("href");
    }

    feature(row) {
      return Number(this.name(row).slice("#feature-".length));
    }

    sift() {
      const asked = this.find(".search").value.trim().toLowerCase();
      const kind = this.find(".kind").value;
      let n = 0;
      this.rows.forEach((row, feature) => {
        const number = /^#?\d+$/.test(asked) ? Number(asked.replace("#", "")) === feature : false;
        const fits = !asked || number || this.texts[feature].includes(asked);
        row.hidden = !(fits && (kind === "all" || row.dataset.kind === kind));
        n += row.hidden ? 0 : 1;
      });
      this.find(".count").textContent = `${n.toLocaleString("en")} shown`;
    }

    sort(column) {
      const value = (row) => Number(row.cells[column].dataset.value);
      const rows = [...this.rows];
      if (column > 0) rows.sort((a, b) => value(b) - value(a) || this.feature(a) - this.feature(b));
      this.body.replaceChildren(...rows);
    }

    walk(event) {
      const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
      if (!step) return;
      let row = event.target.closest("tr")[step];
      while (row?.hidden) row = row[step];
      if (!row) return;
      event.preventDefault();
      row.querySelector("a").focus();
    }

    fromAddress() {
      const found = /^#feature-(\d+)$/.exec(location.hash);
      const feature = found && Number(found[1]);
      if (found && feature < this.rows.length) this.show(feature);
    }

    show(feature) {
      if (this.chosen !== null) this.rows[this.chosen].classList.remove("on");
      this.chosen = feature;
      const row = this.rows[feature];
      row.classList.add("on");
      // Within the list alone: the page stays where it is.
      const list = this.find(".ct-feature-columns > .ct-scroll");
      const above = row.offsetTop - list.scrollTop;
      if (above < 40 || above > list.clientHeight - row.offsetHeight) list.scrollTop = row.offsetTop - 60;
      const parts = [make("h3", "", `Feature ${feature}`), ...this.said(feature, row)];
      if (row.dataset.kind !== "dead") parts.push(...this.histogram(feature, row));
      parts.push(...this.written(feature), ...this.examples(feature));
      this.detail.replaceChildren(...parts);
      this.detail.hidden = false;
      this.figure.classList.add("chosen");
    }

    said(feature, row) {
      const heads = [...this.find(".ct-feature-list thead tr").cells].map((cell) => cell.textContent);
      const facts = [...row.cells]
        .map((cell, at) => [heads[at], cell])
        .filter(([, cell], at) => at > 1 && cell.classList.contains("right") && cell.textContent)
        .map(([name, cell]) => `${name} ${cell.textContent}`);
      const lines = [make("p", "", `${facts.join(", ")}.`)];
      if (row.dataset.kind === "described") {
        lines.unshift(make("p", "", `Fires ${row.cells[1].textContent}. ${this.data.quality[feature]}`));
      }
      return lines;
    }

    histogram(feature, row) {
      const counts = this.data.histogram[feature];
      const most = Math.log1p(Math.max(...counts));
      const bars = counts.map((count) => {
        const bar = make("span", "");
        bar.style.setProperty("--t", most ? Math.log1p(count) / most : 0);
        bar.title = `${count} places`;
        return bar;
      });
      const ends = make("div", "ends", make("span", "", "0"), make("span", "", row.cells[3].textContent));
      return [make("h4", "", "Places by value (heights are logarithmic)"), make("div", "bars", ...bars), ends];
    }

    written(feature) {
      const data = this.data;
      if (!data.similar) return [];
      const list = (title, items) => make("div", "", make("h4", "", title), make("ol", "", ...items));
      const words = (places, by) =>
        places.map((place, at) =>
          make("li", "", make("code", "", visible(data.words[place])), make("span", "", figures(by[at]))),
        );
      const near = data.similar[feature].map((other, at) => {
        const link = make("a", "", `feature ${other}`);
        link.href = `#feature-${other}`;
        return make("li", "", link, make("span", "", data.cosine[feature][at].toFixed(2)));
      });
      const lists = [];
      if (data.promoted[feature].length) {
        lists.push(list("Promotes, logits per unit", words(data.promoted[feature], data.promoted_by[feature])));
        lists.push(list("Suppresses", words(data.suppressed[feature], data.suppressed_by[feature])));
      }
      if (near.length) lists.push(list("Writes most alike, cosine", near));
      return [make("div", "written", ...lists)];
    }

    examples(feature) {
      const [, examples, width] = this.data.shape;
      const bands = Math.max(...this.data.band);
      const parts = [];
      let last = null;
      for (let example = 0; example < examples; example++) {
        const first = (feature * examples + example) * width;
        if (this.token(first + this.data.before) === NOTHING) continue;
        const band = this.data.band[example];
        if (band !== last) parts.push(make("h4", "", this.title(band, bands)));
        last = band;
        parts.push(this.line(first, width));
      }
      return parts;
    }

    title(band, bands) {
      if (band === 0) return "Where it is strongest";
      const end = band === 1 ? "the largest" : band === bands ? "the smallest" : "number";
      const which = end === "number" ? `part ${band} of ${bands}` : `${end} 1/${bands}`;
      return `Drawn from ${which} of its values`;
    }

    line(first, width) {
      const tokens = [];
      for (let at = 0; at < width; at++) {
        const token = this.token(first + at);
        if (token === NOTHING) continue;
        const made = make("span", at === this.data.before ? "here" : "", this.data.words[token].replaceAll("\n", "↵"));
        const share = this.levels[first + at] / LEVELS;
        if (share > 0) made.classList.add("fires");
        made.classList.toggle("half", share > HALF);
        made.classList.toggle("strong", share > STRONG);
        made.style.setProperty("--t", share);
        tokens.push(made);
      }
      return make("p", "line", ...tokens);
    }
  }

  for (const figure of document.querySelectorAll(".ct-features:not([data-ready])")) {
    figure.dataset.ready = "";
    new Browser(figure);
  }
})();
