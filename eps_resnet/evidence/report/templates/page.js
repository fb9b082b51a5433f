"use strict";
// Sorting and filtering of tables, and the cards of runs. Without this script the tables are there in their order.

// An element with attributes and children; texts stay texts.
const make = (name, attributes = {}, ...children) => {
  const isDrawn = ["svg", "path", "polyline", "text"].includes(name);
  const element = isDrawn ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
};

// Sorting
{
  const words = new Intl.Collator("en", { numeric: true }); // "epoch 15" before "epoch 105"
  const valueOf = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value ?? cell.textContent.trim();
  };
  // Numbers as numbers, words as words; what is empty comes last in either direction.
  const compare = (a, b, sign) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    const difference = Number(a) - Number(b);
    return sign * (Number.isNaN(difference) ? words.compare(a, b) : difference);
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const rows = [...table.tBodies[0].rows]; // in the order of the file
    const sortBy = (heading) => {
      const descending = heading.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const column = heading.cellIndex;
      const sign = descending ? -1 : 1;
      table.dispatchEvent(new Event("before-sort"));
      table.tBodies[0].append(...[...rows].sort((a, b) => compare(valueOf(a, column), valueOf(b, column), sign)));
    };
    for (const heading of table.tHead.rows[0].cells) {
      const button = make("button", { type: "button" }, ...heading.childNodes);
      button.addEventListener("click", () => sortBy(heading));
      heading.append(button);
    }
  }
}

// Filtering of the numbers
{
  const form = document.getElementById("filters");
  const rows = [...document.querySelectorAll("table.filtered tbody tr")];
  const waiting = document.getElementById("waiting-numbers");
  const filter = () => {
    const wanted = new FormData(form);
    const text = wanted.get("text").trim().toLowerCase();
    let count = 0;
    for (const row of rows) {
      const fits =
        ["figure", "dataset"].every((name) => ["", row.dataset[name]].includes(wanted.get(name))) &&
        row.textContent.toLowerCase().includes(text);
      row.hidden = !fits;
      count += fits;
    }
    if (count < rows.length) waiting.open = true;
    document.getElementById("shown").textContent = `${count} of ${rows.length} numbers shown`;
  };
  form.addEventListener("input", filter);
  form.addEventListener("reset", () => setTimeout(filter)); // after the fields are empty
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  filter();
}

// A chart of a training over its epochs
const chartOf = (chart) => {
  const drawing = make("svg", { viewBox: "0 0 304 136", role: "img", "aria-label": chart.words });
  for (const [height, label] of chart.ticks) {
    drawing.append(
      make("path", { class: "grid", d: `M40 ${height}H296` }),
      make("text", { class: "tick", x: 36, y: height + 3 }, label),
    );
  }
  drawing.append(make("path", { class: "marked", d: `M${chart.marked} 8V116` }));
  chart.lines.forEach(([, points], i) => drawing.append(make("polyline", { class: `line-${i + 1}`, points })));
  drawing.append(make("text", { x: 40, y: 130 }, "1"), make("text", { class: "last", x: 296, y: 130 }, `epoch ${chart.epochs}`));
  const caption = make("figcaption", {}, chart.title);
  if (chart.lines.length > 1) {
    chart.lines.forEach(([name], i) => caption.append(" ", make("span", { class: `key line-${i + 1}` }, name)));
  }
  return make("figure", { class: "chart" }, caption, drawing);
};

// Gate life: one cell for each block and recorded epoch; the pointer, or the arrow keys, name what they are on
const lifeOf = (life) => {
  const epochs = Array.isArray(life.epochs) ? life.epochs : Array.from({ length: life.epochs }, (_, i) => i + 1);
  const gates = life.gates.map((text) =>
    [...text.matchAll(/(\d+)([.#a-i])/g)].map(([, count, letter]) => letter.repeat(Number(count))).join(""),
  );
  const shareOf = (letter) => (letter === "." ? 0 : letter === "#" ? 1 : ("abcdefghi".indexOf(letter) + 1) / 10);
  const [width, height] = [epochs.length, gates.length];
  const canvas = make("canvas", {
    width, height, tabindex: 0, role: "img",
    "aria-label": `Gates of ${height} blocks over ${epochs.at(-1)} epochs. The arrow keys move through them.`,
  });
  const context = canvas.getContext("2d");
  context.fillStyle = "#d55e00"; // on any ground: open gates are transparent
  gates.forEach((row, block) =>
    [...row].forEach((letter, i) => {
      context.globalAlpha = shareOf(letter);
      context.fillRect(i, block, 1, 1);
    }),
  );

  const stageOf = (block) => {
    let end = 0;
    return life.stages.findIndex((blocks) => block < (end += blocks)) + 1;
  };
  const said = make("output", { "aria-live": "polite" }, "Point at a cell, or use the arrow keys.");
  const cross = make("span", { class: "cell", hidden: "" });
  const say = (block, i) => {
    const letter = gates[block][i];
    const words = letter === "." ? "open in every batch" : letter === "#" ? "closed in every batch"
      : `closed in about ${Math.round(100 * shareOf(letter))}% of the batches`;
    said.textContent = `block ${block + 1} (stage ${stageOf(block)}), epoch ${epochs[i]}: ${words}`;
    cross.hidden = false;
    cross.style.cssText = `left:${(100 * i) / width}%;top:${(100 * block) / height}%;width:${100 / width}%;height:${100 / height}%`;
  };
  let [block, at] = [0, width - 1];
  const within = (value, count) => Math.max(0, Math.min(count - 1, value));
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    at = within(Math.floor(((event.clientX - box.left) / box.width) * width), width);
    block = within(Math.floor(((event.clientY - box.top) / box.height) * height), height);
    say(block, at);
  });
  const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  canvas.addEventListener("keydown", (event) => {
    if (!(event.key in moves)) return;
    event.preventDefault();
    const [down, right] = moves[event.key];
    [block, at] = [within(block + down, height), within(at + right, width)];
    say(block, at);
  });
  canvas.addEventListener("focus", () => say(block, at));

  const field = make("div", { class: "field", style: `height:${Math.min(22, Math.max(7, height * 0.35))}rem` }, canvas, cross);
  const markAt = (epoch, kind) => {
    const i = epochs.findIndex((recorded) => recorded >= epoch);
    field.append(make("span", { class: `mark ${kind}`, style: `left:${(100 * (i + 0.5)) / width}%` }));
  };
  for (const epoch of life.restarts) markAt(epoch, "restart");
  markAt(life.reported, "reported");
  let end = 0;
  for (const blocks of life.stages.slice(0, -1)) {
    end += blocks;
    field.append(make("span", { class: "stage", style: `top:${(100 * end) / height}%` }));
  }
  const caption = make(
    "figcaption", {}, "Gate life, input at the top: the darker, the more often closed. ",
    make("span", { class: "muted" }, "Triangles: the rate restarts. Line: the reported epoch."),
  );
  return make("figure", { class: "life" }, caption, field, said);
};

// What the cards of runs show: a document, compressed
const unpacked = () => {
  const bytes = Uint8Array.from(atob(document.getElementById("cards").textContent), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
};

// Runs
unpacked().then((data) => {
  const table = document.getElementById("run-table");
  const rows = [...table.tBodies[0].rows];
  const factsOf = (items) =>
    make("dl", { class: "facts" }, ...items.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
  const folded = (title, content) => make("details", {}, make("summary", {}, title), content);
  const linked = (links) => links.flatMap(([address, words], i) => [i ? ", " : " ", make("a", { href: address }, words)]);

  const cardOf = (key) => {
    const card = data.runs[key];
    const headline = make("dl", { class: "headline" });
    for (const [name, value] of card.headline) headline.append(make("div", {}, make("dt", {}, name), make("dd", {}, value)));
    const content = make("div", { class: "run-card" }, headline, make("div", { class: "charts" }, ...card.charts.map(chartOf)));
    if (card.life) content.append(lifeOf(card.life));
    content.append(
      make("p", { class: "note" }, "Made by ", make("code", {}, `snakemake --cores 2 results/${key}/metrics.json`), ", or by hand by ",
        make("code", {}, `eps-resnet train ${key}`), ", then prune and evaluate."),
      factsOf(card.made),
      folded("Configuration", factsOf(data.shared[card.configuration])),
      folded("Machine, data and code", factsOf(data.shared[card.machine])),
      make("p", { class: "note" }, "Figures:", ...linked(card.figures.map((name) => [`#${name}`, name])), ". Files:", ...linked(card.files), "."),
    );
    return content;
  };

  const opened = (row) => row.nextElementSibling?.classList.contains("opened") ? row.nextElementSibling : null;
  const close = (row) => {
    opened(row)?.remove();
    row.querySelector("button")?.setAttribute("aria-expanded", "false");
  };
  const open = (row) => {
    if (opened(row) || !(row.dataset.key in data.runs)) return;
    row.after(make("tr", { class: "opened" }, make("td", { colspan: row.cells.length }, cardOf(row.dataset.key))));
    row.querySelector("button").setAttribute("aria-expanded", "true");
  };
  for (const row of rows.filter((row) => row.dataset.key in data.runs)) {
    const heading = row.cells[0];
    const button = make("button", { type: "button", "aria-expanded": "false" }, ...heading.childNodes);
    heading.append(button);
    row.classList.add("opens");
    row.addEventListener("click", () => (opened(row) ? close(row) : open(row)));
  }
  table.addEventListener("before-sort", () => rows.forEach(close));

  const form = document.getElementById("run-filters");
  const filter = () => {
    const wanted = new FormData(form);
    const text = wanted.get("text").trim().toLowerCase();
    let count = 0;
    for (const row of rows) {
      row.hidden = !((wanted.has("waiting") || row.dataset.state === "done") && row.textContent.toLowerCase().includes(text));
      if (row.hidden) close(row);
      count += !row.hidden;
    }
    document.getElementById("runs-shown").textContent = `${count} of ${rows.length} runs shown`;
  };
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  if (!rows.some((row) => row.dataset.state === "done")) form.elements.waiting.checked = true; // nothing else to show
  filter();

  // A link to a run opens its card, one to evidence its fold.
  const follow = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    if (target.matches("details")) target.open = true;
    for (let fold = target.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
    if (rows.includes(target)) {
      if (target.hidden) {
        form.reset();
        form.elements.waiting.checked = target.dataset.state !== "done";
        filter();
      }
      open(target);
    }
    target.scrollIntoView();
  };
  addEventListener("hashchange", follow);
  follow();
});
