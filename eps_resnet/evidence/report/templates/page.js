"use strict";
// Sorting and filtering of the verdict table. Without this script the table is there in the order of the file.
(() => {
  const table = document.getElementById("verdict-table");
  const body = table.tBodies[0];
  const rows = [...body.rows]; // in the order of the file
  const form = document.getElementById("filters");
  const shown = document.getElementById("shown");
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

  const sortBy = (heading) => {
    const descending = heading.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const column = heading.cellIndex;
    const sign = descending ? -1 : 1;
    body.append(...[...rows].sort((a, b) => compare(valueOf(a, column), valueOf(b, column), sign)));
  };

  const filter = () => {
    const wanted = new FormData(form);
    const text = wanted.get("text").trim().toLowerCase();
    let count = 0;
    for (const row of rows) {
      const fits =
        ["figure", "dataset", "verdict"].every((name) => ["", row.dataset[name]].includes(wanted.get(name))) &&
        row.textContent.toLowerCase().includes(text);
      row.hidden = !fits;
      count += fits;
    }
    shown.textContent = `${count} of ${rows.length} numbers shown`;
  };

  for (const heading of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    button.addEventListener("click", () => sortBy(heading));
    heading.append(button);
  }
  form.addEventListener("input", filter);
  form.addEventListener("reset", () => setTimeout(filter)); // after the fields are empty
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  filter();
})();
