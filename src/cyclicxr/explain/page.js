// The page of one result: pointing at a word, sentence, keyword or box lights its evidence on every film of the page.
"use strict";
(() => {
  const film = document.getElementById("film");
  const layer = film.querySelector(".tags");
  const readout = document.querySelector(".readout");
  const resting = [...readout.childNodes];
  const loupe = document.querySelector(".loupe");
  const words = [...document.querySelectorAll(".word")];
  const lines = [...document.querySelectorAll(".line[data-number]")];
  const chips = [...document.querySelectorAll(".chip")];

  for (const same of document.querySelectorAll("[data-same]")) same.src = film.querySelector("img").src; // the picture is in the page once
  for (const copy of document.querySelectorAll("[data-copy]")) copy.append(film.querySelector(".boxes").cloneNode(true));
  const films = [...document.querySelectorAll(".film")];
  const marks = new Map();
  for (const g of document.querySelectorAll(".mark")) marks.set(g.dataset.mark, [...(marks.get(g.dataset.mark) ?? []), g]);

  // ---- what can be pointed at: its boxes, their colour, their tags
  const colour = (element) => getComputedStyle(element).getPropertyValue("--c").trim();
  const split = (text) => (text ? text.split(" ") : []);
  const evidence = (element) => {
    if (element.matches(".word")) {
      const label = `${element.textContent} ${element.dataset.score}`;
      return { boxes: [{ mark: element.dataset.mark, label }], colour: colour(element) };
    }
    if (element.matches(".chip")) {
      const score = film.clientWidth < 480 ? "" : ` ${element.dataset.score}`;
      return { boxes: [{ mark: element.dataset.mark, label: element.dataset.text + score }], colour: "" };
    }
    if (element.matches(".line")) {
      return { boxes: split(element.dataset.marks).map((mark) => ({ mark, label: element.dataset.number })), colour: colour(element) };
    }
    return { boxes: [{ mark: element.dataset.mark, label: "" }], colour: "" };
  };

  let pointed = null;
  const pinned = new Set();

  // ---- drawing the state
  const render = () => {
    const kept = pinned.size ? [...pinned] : chips;
    const shown = new Map();
    const show = (element, lit) => {
      const found = evidence(element);
      for (const box of found.boxes) {
        const old = shown.get(box.mark);
        const labels = lit || !old ? [] : old.labels;
        if (box.label && !labels.includes(box.label)) labels.push(box.label);
        shown.set(box.mark, { labels, colour: found.colour || (old && !lit ? old.colour : ""), lit: lit || Boolean(old?.lit) });
      }
    };
    kept.forEach((element) => show(element, false));
    if (pointed) show(pointed, true);

    for (const [key, copies] of marks) {
      const state = shown.get(key);
      for (const g of copies) {
        g.classList.toggle("on", Boolean(state));
        g.classList.toggle("lit", Boolean(state?.lit));
        g.style.setProperty("--c", state?.colour || "");
      }
    }
    for (const f of films) f.classList.toggle("pointing", Boolean(pointed));
    for (const [, copies] of marks) for (const g of copies) if (g.classList.contains("lit")) g.parentNode.append(g);
    for (const line of lines) {
      const isPinned = pinned.has(line);
      line.classList.toggle("pinned", isPinned);
      line.classList.toggle("lit", isPinned || pointed === line || line.contains(pointed));
      line.querySelector(".pick").setAttribute("aria-pressed", String(isPinned));
    }
    for (const chip of chips) {
      chip.setAttribute("aria-pressed", String(pinned.has(chip)));
      chip.classList.toggle("lit", pointed === chip);
    }
    const key = pointed?.dataset.mark;
    const isBox = Boolean(pointed?.matches(".mark"));
    for (const word of words) word.classList.toggle("lit", word === pointed || (isBox && word.dataset.mark === key));
    if (isBox) for (const chip of chips) chip.classList.toggle("lit", chip.dataset.mark === key);
    const said = pointed?.matches(".word") ? pointed.textContent.toLowerCase() : "";
    for (const card of document.querySelectorAll(".keypatch")) card.classList.toggle("lit", card.dataset.word === said && said !== "");
    tag(shown);
    tell();
  };

  const bounds = (key) => marks.get(key)[0].querySelector(".box, .anchor").getBBox();

  // ---- tags: beside their boxes, never over one another
  const tag = (shown) => {
    layer.replaceChildren();
    const taken = [];
    const width = film.clientWidth;
    const height = film.clientHeight;
    const scale = width / 1000;
    const boxes = [...shown.keys()].map((key) => extent(key, scale));
    const entries = [...shown].filter(([, state]) => state.labels.length).sort(([, a], [, b]) => Number(b.lit) - Number(a.lit));
    for (const [key, state] of entries) {
      const box = extent(key, scale);
      const element = document.createElement("span");
      element.className = state.lit ? "tag lit" : "tag";
      element.textContent = state.labels.join(" · ");
      if (state.colour) element.style.setProperty("--c", state.colour);
      layer.append(element);
      const w = element.offsetWidth;
      const h = element.offsetHeight;
      const place = spot(box, { w, h }, { width, height }, taken, boxes);
      taken.push({ x: place.x, y: place.y, w, h });
      element.style.left = `${(100 * place.x) / width}%`; // shares of the film, so that print keeps them
      element.style.top = `${(100 * place.y) / height}%`;
    }
  };
  const extent = (key, scale) => {
    const box = bounds(key);
    return { x: box.x * scale, y: box.y * scale, w: box.width * scale, h: box.height * scale };
  };
  const overlap = (a, b) => Math.max(0, Math.min(a.x + a.w, b.x + b.w) - Math.max(a.x, b.x)) * Math.max(0, Math.min(a.y + a.h, b.y + b.h) - Math.max(a.y, b.y));
  const spot = (box, { w, h }, { width, height }, taken, boxes) => {
    const gap = 3;
    const across = [box.x, box.x + box.w - w, box.x + (box.w - w) / 2];
    const beside = [box.x + box.w + gap, box.x - w - gap];
    const tries = [];
    for (let step = 0; step < 8; step++) {
      for (const y of [box.y - h - gap - step * (h + 2), box.y + box.h + gap + step * (h + 2)]) {
        for (const x of step ? [...across, ...beside] : across) tries.push({ x, y, cost: 30 * step });
      }
      if (!step) for (const x of beside) tries.push({ x, y: box.y + (box.h - h) / 2, cost: 5 });
    }
    const cost = (place) => place.cost
      + 100 * taken.reduce((sum, other) => sum + overlap(place, other), 0)
      + boxes.reduce((sum, other) => sum + overlap(place, other), 0);
    const inside = (place) => ({ ...place, w, h, x: Math.max(2, Math.min(place.x, width - w - 2)), y: Math.max(2, Math.min(place.y, height - h - 2)) });
    return tries.map(inside).reduce((best, place) => (cost(place) < cost(best) ? place : best));
  };

  // ---- the line under the film, and the magnified patch
  const tell = () => {
    const key = pointed?.dataset.mark;
    loupe.hidden = !key;
    if (!key) {
      if (!pointed) { readout.replaceChildren(...resting); return; }
      const boxes = split(pointed.dataset.marks).length;
      readout.textContent = `Sentence ${pointed.dataset.number}: ${boxes} ${boxes === 1 ? "patch" : "patches"}`;
      return;
    }
    const title = document.createElement("b");
    const detail = document.createElement("span");
    const note = marks.get(key)[0].dataset.note;
    if (pointed.matches(".mark")) {
      title.textContent = words.filter((w) => w.dataset.mark === key).map((w) => w.textContent).join(", ") || "No word of the report";
      detail.textContent = note;
    } else {
      const isWord = pointed.matches(".word");
      title.textContent = isWord ? pointed.textContent : pointed.dataset.text;
      detail.textContent = `${isWord ? "cosine" : "standardised score"} ${pointed.dataset.score}${note ? `, ${note}` : ""}`;
    }
    readout.replaceChildren(title, detail);
    magnify(key);
  };
  const magnify = (key) => {
    const picture = film.querySelector("img");
    if (!picture?.naturalWidth) { loupe.hidden = true; return; }
    const unit = picture.naturalWidth / 1000;
    const tall = film.querySelector(".boxes").viewBox.baseVal.height;
    const box = bounds(key);
    const side = Math.min(Math.max(box.width, box.height) * 1.6 + 24, 1000, tall);
    const x = Math.max(0, Math.min(box.x + box.width / 2 - side / 2, 1000 - side));
    const y = Math.max(0, Math.min(box.y + box.height / 2 - side / 2, tall - side));
    const unitY = picture.naturalHeight / tall;
    loupe.getContext("2d").drawImage(picture, x * unit, y * unitY, side * unit, side * unitY, 0, 0, loupe.width, loupe.height);
  };

  // ---- pointing and selecting
  const target = (node) => (node instanceof Element ? node.closest(".word, .chip, .line[data-number], .mark.on, .all .mark.patch") : null);
  const point = (element) => { if (element !== pointed) { pointed = element; render(); } };
  const pin = (element) => { pinned.has(element) ? pinned.delete(element) : pinned.add(element); render(); };
  document.addEventListener("pointerover", (event) => point(target(event.target)));
  document.addEventListener("focusin", (event) => { if (event.target.matches(":focus-visible")) point(target(event.target)); });
  document.addEventListener("focusout", () => point(null));
  document.addEventListener("pointerleave", () => point(null));
  document.addEventListener("click", (event) => {
    const chip = event.target.closest(".chip");
    const line = event.target.closest(".line[data-number]");
    if (chip || line) pin(chip ?? line);
  });

  // ---- keyboard: one tab stop for all words; arrows move among them
  if (words.length) words[0].tabIndex = 0;
  const go = (word) => {
    if (!word) return;
    for (const other of words) other.tabIndex = other === word ? 0 : -1;
    word.focus();
  };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { pinned.clear(); pointed = null; render(); return; }
    const word = event.target.closest?.(".word");
    if (!word) return;
    const at = words.indexOf(word);
    const line = word.closest(".line");
    const starts = words.filter((w, i) => i === 0 || w.closest(".line") !== words[i - 1].closest(".line"));
    const row = starts.findIndex((w) => w.closest(".line") === line);
    const moves = { ArrowRight: words[at + 1], ArrowLeft: words[at - 1], ArrowDown: starts[row + 1], ArrowUp: starts[row - 1], Home: words[0], End: words.at(-1) };
    if (event.key in moves) { event.preventDefault(); go(moves[event.key]); }
    if ((event.key === "Enter" || event.key === " ") && line.dataset.number) { event.preventDefault(); pin(line); }
  });

  // ---- switches
  document.getElementById("all")?.addEventListener("change", (event) => films.forEach((f) => f.classList.toggle("all", event.target.checked)));
  const compare = document.getElementById("compare");
  for (const radio of document.querySelectorAll("[name=compare]")) {
    radio.addEventListener("change", () => { compare.classList.toggle("wipe", radio.value === "wipe" && radio.checked); });
  }
  document.getElementById("wipe")?.addEventListener("input", (event) => compare.style.setProperty("--cut", `${event.target.value}%`));

  films.forEach((f) => f.classList.add("live"));
  new ResizeObserver(render).observe(film);
  render();
})();
