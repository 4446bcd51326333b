"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  // Controls of what a page does not hold are not there: grounding of a plain attribution, maps of a text.
  const threshold = document.getElementById("threshold");
  const own = document.getElementById("own");
  const opacity = document.getElementById("opacity");
  const panels = [];
  let current = null;  // the panel of the word that was chosen last
  const styles = getComputedStyle(document.documentElement);
  const POSITIVE = styles.getPropertyValue("--positive"), NEGATIVE = styles.getPropertyValue("--negative");

  function make(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "class") node.className = value;
      else if (name === "text") node.textContent = value;
      else node.setAttribute(name, value);
    }
    node.append(...children);
    return node;
  }

  function named(text) {
    return text.trim() || "(white space)";
  }

  function signed(value, digits = 2) {
    if (value === null || value === undefined) return "not known";
    const text = Math.abs(value) >= 0.01 || value === 0 ? value.toFixed(digits) : value.toExponential(1);
    return value > 0 ? "+" + text : text;
  }

  function fixed(value, digits) {
    return value === null ? "not known" : value.toFixed(digits);
  }

  function percent(value) {
    return (100 * value).toFixed(value < 0.1 ? 1 : 0) + " %";
  }

  // Relevance of all words: 16-bit integers, word by word; a scale per word.
  function decode(answer) {
    const bytes = Uint8Array.from(atob(answer.relevance), (letter) => letter.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    let offset = 0;
    return answer.scales.map((scale, word) => {
      const row = new Float64Array(answer.length);  // zero behind the word
      for (let i = 0; i < answer.lengths[word]; i++, offset += 2) row[i] = view.getInt16(offset, true) * scale;
      return row;
    });
  }

  function positions(runs) {
    const found = [];
    for (const [start, count] of runs) for (let i = 0; i < count; i++) found.push(start + i);
    return found;
  }

  function colour(value, limit, strength) {
    const part = Math.min(1, Math.abs(value) / limit) * strength;
    return `rgba(${value > 0 ? POSITIVE : NEGATIVE},${part})`;
  }

  class Panel {
    constructor(answer, home, name) {
      this.answer = answer;
      this.rows = decode(answer);
      this.word = -1;
      this.canvases = [];
      this.home = home;
      const sounds = answer.items.filter((item) => item.kind === "sound").length;
      this.zero = answer.items.some((item) => item.views.some((view) => view.source)) ? "shows the picture" : "shows the background";
      this.cell = !sounds ? "token" : sounds === answer.items.length ? "stretch" : "token or stretch";
      home.append(make("h2", { dir: "auto", text: [name, answer.title].filter(Boolean).join(": ") }));
      this.said = make("p", { class: "said", dir: "auto", role: "group", "aria-label": `${answer.unit}s of the answer` });
      this.buttons = answer.words.map((word, index) => {
        const button = make("button", { type: "button", text: named(word.text), "aria-pressed": "false" });
        if (word.special) button.classList.add("special");
        button.addEventListener("click", () => this.go(index));
        this.said.append(word.lead.includes("\n") ? make("br") : word.lead ? " " : "", button);
        return button;
      });
      home.append(this.said);
      this.maps = make("div", { class: "maps" });
      answer.items.forEach((item) => this.addItem(item));
      this.bar = make("div", { class: this.zero === "shows the picture" ? "bar" : "bar plain" });
      this.facts = make("div", { class: "facts", "aria-live": "polite" });
      const seen = answer.items.length ? [make("div", { class: "seen" }, this.maps, this.bar)] : [];
      home.append(make("div", { class: "beside" }, ...seen, this.facts));
      home.append(make("h3", { text: answer.context_title }));
      this.context = make("div", { class: "context", tabindex: "0", dir: "auto" });
      this.addContext();
      this.textBar = make("div", { class: "bar text" });
      home.append(this.context, this.textBar);
      this.mark();
    }

    addItem(item) {
      const notes = [item.reason, item.note].filter(Boolean);
      for (const view of item.views) {
        const map = make("div", { class: view.source ? "map" : view.strip ? "map strip" : "map blank" });
        if (item.kind === "sound") map.classList.add("sound");
        if (view.source) {
          const picture = make("img", { src: view.source, alt: `${item.name} as the model received it`, width: view.width, height: view.height });
          if (view.width < 200) picture.classList.add("small");
          map.append(picture);
        } else if (!view.strip) map.style.aspectRatio = `${view.width} / ${view.height}`;
        const canvas = make("canvas", { role: "img" });
        map.append(canvas);
        const events = view.events || [];
        for (const event of events)
          for (const edge of [event.start, event.stop]) map.append(make("i", { class: "bound", style: `left: ${100 * edge}%` }));
        const caption = make("figcaption", { text: [item.name, view.title].filter(Boolean).join(", ") });
        const value = make("span", { class: "value" });
        caption.append(" ", value);
        const above = events.length ? [lanes(view)] : [], below = view.ticks ? [axis(view.ticks)] : [];
        this.maps.append(make("figure", { class: view.strip || item.kind === "sound" ? "wide" : "picture" }, ...above, map, ...below, caption));
        const cells = [];
        for (const tile of view.tiles) {
          const [x0, y0, x1, y1] = tile.box;
          positions(tile.positions).forEach((position, index) => {
            const row = Math.floor(index / tile.columns), column = index % tile.columns;
            const width = (x1 - x0) / tile.columns, height = (y1 - y0) / tile.rows;
            cells.push({ positions: [position], x: x0 + column * width, y: y0 + row * height, width, height });
          });
        }
        for (const part of view.stretches || [])
          cells.push({ positions: positions(part.positions), x: part.start, y: 0, width: part.stop - part.start, height: 1, bar: true });
        const entry = { canvas, cells, item, value, events };
        canvas.addEventListener("mousemove", (event) => this.tell(entry, event));
        canvas.addEventListener("mouseleave", () => (entry.value.textContent = ""));
        this.canvases.push(entry);
      }
      for (const text of notes) this.maps.append(make("p", { class: item.reason === text ? "reason" : "note", text: `${item.name}: ${text}` }));
    }

    addContext() {
      this.spans = [];
      for (const part of this.answer.context) {
        if (part.item !== undefined) {
          this.context.append(" ", make("span", { class: "item", text: this.answer.items[part.item].name }), " ");
          continue;
        }
        const span = make("span", { text: part.text });
        if (part.special) span.classList.add("special");
        this.context.append(part.lead, span);
        this.spans.push({ span, start: part.start, stop: part.stop, text: part.text });
      }
    }

    limit() {
      if (!own || !own.checked) return this.answer.limit;
      let largest = 1e-12;
      for (const { cells } of this.canvases)
        for (const cell of cells) largest = Math.max(largest, Math.abs(this.value(cell)));
      return largest;
    }

    value(cell) {
      return cell.positions.reduce((sum, position) => sum + this.rows[this.word][position], 0);
    }

    draw() {
      if (this.word < 0) return;
      const limit = this.limit(), strength = opacity ? Number(opacity.value) : 1;
      const unit = this.answer.unit;
      for (const { canvas, cells } of this.canvases) {
        const box = canvas.getBoundingClientRect(), sharp = window.devicePixelRatio || 1;
        canvas.width = Math.max(1, Math.round(box.width * sharp));
        canvas.height = Math.max(1, Math.round(box.height * sharp));
        const pen = canvas.getContext("2d");
        for (const cell of cells) {
          const value = this.value(cell);
          pen.fillStyle = colour(value, limit, strength);
          const x = Math.round(cell.x * canvas.width), right = Math.round((cell.x + cell.width) * canvas.width);
          let y = Math.round(cell.y * canvas.height), bottom = Math.round((cell.y + cell.height) * canvas.height);
          if (cell.bar) {
            pen.fillRect(x, y, right - x, bottom - y);
            const middle = canvas.height / 2, tall = Math.min(1, Math.abs(value) / limit) * middle;
            pen.fillStyle = `rgb(${value > 0 ? POSITIVE : NEGATIVE})`;
            [y, bottom] = value > 0 ? [middle - tall, middle] : [middle, middle + tall];
          }
          pen.fillRect(x, y, Math.max(right - x, cell.bar ? 1 : 0), bottom - y);
        }
      }
      const scope = own && own.checked ? `scale of this ${unit}` : `one scale for all ${unit}s of ${this.answer.shared ? "both answers" : "this answer"}`;
      this.scale(this.bar, limit, `relevance of a ${this.cell}, 0 ${this.zero}, ${this.answer.words.length > 1 ? scope : "one scale for all maps"}`);
      let largest = 1e-12;
      for (const { start, stop } of this.spans) largest = Math.max(largest, Math.abs(this.sum(start, stop)));
      for (const { span, start, stop } of this.spans) {
        const value = start < this.answer.length ? this.sum(start, stop) : 0;
        span.style.background = value ? colour(value, largest, 0.6) : "";
        span.title = signed(value);
      }
      this.scale(this.textBar, largest, `relevance of a ${unit} of the text, 0 shows the background, scale of this ${unit}`);
    }

    scale(bar, limit, text) {
      bar.replaceChildren(make("span", { text: signed(-limit) }), make("i"), make("span", { text: signed(limit) }), make("span", { text }));
    }

    sum(start, stop) {
      let total = 0;
      for (let i = start; i < Math.min(stop, this.answer.length); i++) total += this.rows[this.word][i];
      return total;
    }

    tell(entry, event) {
      if (this.word < 0) return;
      const box = entry.canvas.getBoundingClientRect();
      const x = (event.clientX - box.left) / box.width, y = (event.clientY - box.top) / box.height;
      const cell = entry.cells.find((one) => x >= one.x && x < one.x + one.width && y >= one.y && y < one.y + one.height);
      entry.value.textContent = cell ? `here ${signed(this.value(cell), 3)}` : "";
    }

    // The word that a person chooses; keys go on from it.
    go(index) {
      current = this;
      this.choose(index);
    }

    focus(index) {
      this.go(index);
      this.buttons[index].focus();
    }

    step(by) {
      this.focus(Math.min(this.buttons.length - 1, Math.max(0, this.word + by)));
    }

    choose(index) {
      this.word = index;
      this.buttons.forEach((button, number) => button.setAttribute("aria-pressed", String(number === index)));
      this.draw();
      this.describe();
    }

    describe() {
      const word = this.answer.words[this.word];
      const unit = this.answer.unit, facts = [[unit, word.against === undefined ? named(word.text) : `${named(word.text)} against ${named(word.against)}`]];
      const known = (name, keys, write) => {  // what is not known of this kind of page has no line
        if (keys.every((key) => word[key] !== undefined)) facts.push([name, write()]);
      };
      known("grounding", ["grounding"], () => word.grounding === null ? "not known" : `${signed(word.grounding)} nats`);
      known("probability", ["probability"], () => fixed(word.probability, 3));
      known("instead", ["alternative", "alternative_probability"], () => `${word.alternative} (${fixed(word.alternative_probability, 3)})`);
      known("margin, entropy", ["margin", "entropy"], () => `${signed(word.margin)}, ${fixed(word.entropy, 2)} nats`);
      const margin = word.against === undefined ? "logit" : `margin over ${named(word.against)}`;
      known(`${margin}, residual`, ["logit", "residual"], () => `${signed(word.logit)}, ${signed(word.residual)}`);
      known("convergence delta", ["convergence_delta"], () => signed(word.convergence_delta));
      known("image share of a step", ["steps"], () => word.steps);
      const table = make("table");
      for (const [name, text] of facts) table.append(make("tr", {}, make("td", { text: name }), make("td", { class: "number", text })));
      const parts = make("table");
      for (const [name, share] of Object.entries(word.shares)) {
        const meter = make("div", { class: "meter", role: "meter", "aria-label": name, "aria-valuemin": "0", "aria-valuemax": "1", "aria-valuenow": String(share) }, make("i", { style: `width: ${100 * share}%` }));
        parts.append(make("tr", {}, make("td", { text: name }), make("td", {}, meter), make("td", { class: "number", text: percent(share) }), make("td", { class: "number", text: signed(word.relevance[name]) })));
      }
      const top = this.spans
        .filter((one) => one.start < this.answer.length)
        .map((one) => ({ ...one, value: this.sum(one.start, one.stop) }))
        .sort((a, b) => Math.abs(b.value) - Math.abs(a.value)).slice(0, 6);
      const words = make("table");
      for (const one of top) words.append(make("tr", {}, make("td", { text: named(one.text) }), make("td", { class: "number", text: signed(one.value) })));
      const column = (title, node) => make("div", {}, make("h3", { text: title }), node);
      const heard = this.canvases
        .filter((entry) => entry.events.length)
        .map((entry) => column(`Share of the positive relevance of ${entry.item.name}, and of its time`, this.eventTable(entry)));
      this.facts.replaceChildren(column(`This ${unit}`, table), column("Share of the relevance, and its sum", parts), ...heard, column(`Strongest ${unit}s before it`, words));
      if (word.losses) this.facts.append(column("Objective over the steps of the edit", curve(word.losses)));
    }

    // A cell that an event overlaps partly counts by the overlap, as in TimeRelevance.events.
    eventTable(entry) {
      const table = make("table");
      const total = entry.cells.reduce((sum, cell) => sum + Math.max(0, this.value(cell)), 0);
      for (const name of new Set(entry.events.map((event) => event.name))) {
        const parts = union(entry.events.filter((event) => event.name === name).map((event) => [event.start, event.stop]));
        let inside = 0;
        for (const cell of entry.cells)
          for (const [start, stop] of parts)
            inside += (Math.max(0, this.value(cell)) * Math.max(0, Math.min(stop, cell.x + cell.width) - Math.max(start, cell.x))) / cell.width;
        const time = parts.reduce((sum, [start, stop]) => sum + stop - start, 0);
        table.append(make("tr", {}, make("td", { text: name }), make("td", { class: "number", text: percent(total ? inside / total : 0) }), make("td", { class: "number", text: percent(time) })));
      }
      return table;
    }

    mark() {
      if (!threshold) return;
      const low = Number(threshold.value);
      this.answer.words.forEach((word, index) => {
        const marked = word.grounding !== null && word.grounding < low && !word.special;
        this.buttons[index].classList.toggle("marked", marked);
      });
    }
  }

  // The marked words of all answers in order; behind the last one, the first one follows.
  function nextMarked() {
    const words = panels.flatMap((panel) => panel.buttons.map((button, index) => ({ panel, button, index })));
    const from = words.findIndex(({ panel, index }) => panel === current && index === panel.word) + 1;
    const next = [...words.slice(from), ...words.slice(0, from)].find(({ button }) => button.classList.contains("marked"));
    if (next) next.panel.focus(next.index);
  }

  function union(intervals) {
    const found = [];
    for (const [start, stop] of intervals.sort((a, b) => a[0] - b[0])) {
      const last = found[found.length - 1];
      if (last && start <= last[1]) last[1] = Math.max(last[1], stop);
      else found.push([start, stop]);
    }
    return found;
  }

  // Bars of events above a sound; those that overlap lie below each other.
  function lanes(view) {
    const node = make("div", { class: "lanes", style: `height: ${1.35 * view.lanes}em` });
    for (const event of view.events) {
      const place = `left: ${100 * event.start}%; width: ${100 * (event.stop - event.start)}%; top: ${1.35 * event.lane}em`;
      node.append(make("div", { class: "event", style: place }, make("span", { class: event.left ? "left" : "", text: event.name })));
      for (const edge of [event.start, event.stop])
        node.append(make("i", { class: "bound", style: `left: ${100 * edge}%; top: ${1.35 * event.lane}em` }));
    }
    return node;
  }

  // Times under a sound.
  function axis(ticks) {
    const node = make("div", { class: "axis" });
    for (const tick of ticks) node.append(make("span", { class: tick.place > 0.97 ? "end" : "", style: `left: ${100 * tick.place}%`, text: tick.text }));
    return node;
  }

  function curve(losses) {
    const space = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(space, "svg");
    svg.setAttribute("viewBox", "0 0 100 100");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("class", "curve");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", `objective from ${losses[0]} to ${losses[losses.length - 1]}`);
    const low = Math.min(...losses), high = Math.max(...losses), range = high - low || 1;
    const line = document.createElementNS(space, "polyline");
    line.setAttribute("points", losses.map((loss, i) => `${(100 * i) / Math.max(1, losses.length - 1)},${95 - (90 * (loss - low)) / range}`).join(" "));
    svg.append(line);
    return make("div", {}, svg, make("div", { class: "note", text: `${signed(losses[0], 3)} to ${signed(losses[losses.length - 1], 3)}` }));
  }

  const home = document.getElementById("answers");
  const index = document.getElementById("index");

  function show(number) {
    const { name, answers, opening } = data.entries[number];
    panels.length = 0;
    home.replaceChildren();
    for (const answer of answers) {
      const section = make("section", { class: "answer" });
      home.append(section);
      panels.push(new Panel(answer, section, name));
    }
    const why = document.getElementById("opening");
    why.textContent = opening || "";  // of an attribution, nothing is said
    why.hidden = !opening;
    for (const panel of panels) panel.choose(panel.answer.first);
    current = panels[0];
    for (const button of index.children) button.setAttribute("aria-current", String(Number(button.dataset.number) === number));
  }

  if (data.entries.length > 1) {
    index.hidden = false;
    data.entries.forEach((entry, number) => {
      const button = make("button", { type: "button", "data-number": String(number) });
      button.append(entry.thumbnail ? make("img", { src: entry.thumbnail, alt: "" }) : make("span"), make("span", { class: "name", dir: "auto", text: `${entry.name}: ${entry.text}` }), make("span", { class: "worst", text: entry.worst }));
      button.addEventListener("click", () => show(number));
      index.append(button);
    });
  }
  show(0);

  const grey = document.getElementById("grey");
  const paint = () => home.classList.toggle("grey", grey.checked);
  if (grey) {
    grey.addEventListener("input", paint);
    paint();
  }
  for (const control of [own, opacity])
    if (control) control.addEventListener("input", () => panels.forEach((panel) => panel.draw()));
  if (threshold) {
    threshold.addEventListener("input", () => panels.forEach((panel) => panel.mark()));
    document.getElementById("next").addEventListener("click", nextMarked);
  }
  const SWITCHES = ["checkbox", "range", "button"];  // inputs into which no letter is written
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const within = (selector) => event.target instanceof Element && event.target.closest(selector);
    const input = within("input");
    if (threshold && event.key === "u" && (!input || SWITCHES.includes(input.type))) nextMarked();
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by || input || within(".scroll")) return;
    event.preventDefault();
    current.step(by);
  });
  let waiting = 0;
  window.addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => panels.forEach((panel) => panel.draw()), 60);
  });
  window.addEventListener("load", () => panels.forEach((panel) => panel.draw()));
})();
