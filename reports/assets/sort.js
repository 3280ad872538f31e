/* Sorts tables by the column whose title is pressed: numbers by value, other words by the alphabet, gaps last. */
"use strict";

for (const table of document.querySelectorAll("table.sortable")) {
  const titles = [...table.querySelectorAll("thead th")];
  titles.forEach((title, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = title.textContent;
    button.addEventListener("click", () => sort(table, titles, column));
    title.replaceChildren(button);
    title.setAttribute("aria-sort", "none");
  });
}

function sort(table, titles, column) {
  const down = titles[column].getAttribute("aria-sort") === "ascending";
  titles.forEach((title, number) => {
    title.setAttribute("aria-sort", number === column ? (down ? "descending" : "ascending") : "none");
  });
  const body = table.tBodies[0];
  const content = (row) => row.cells[column].textContent;
  const text = [...body.rows].some((row) => content(row) !== "" && Number.isNaN(Number(content(row))));
  const [filled, gaps] = [[], []];
  for (const row of body.rows) (content(row) === "" ? gaps : filled).push(row);
  const order = text ? (a, b) => content(a).localeCompare(content(b)) : (a, b) => content(a) - content(b);
  filled.sort((a, b) => (down ? -order(a, b) : order(a, b)));
  body.append(...filled, ...gaps);
}
