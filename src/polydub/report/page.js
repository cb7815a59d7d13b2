"use strict";
// The page reads well without this file; here are only zoom, filter and sort.
for (const tools of document.querySelectorAll(".tools")) tools.hidden = false;

const scroll = document.querySelector(".scroll");
for (const button of document.querySelectorAll("[data-zoom]")) {
  button.addEventListener("click", () => {
    const old = Number(scroll.style.getPropertyValue("--zoom")) || 1, zoom = Number(button.dataset.zoom);
    const middle = (scroll.scrollLeft + scroll.clientWidth / 2) / old;
    scroll.style.setProperty("--zoom", zoom);
    scroll.scrollLeft = middle * zoom - scroll.clientWidth / 2;
    for (const other of document.querySelectorAll("[data-zoom]")) other.setAttribute("aria-pressed", other === button);
  });
}

const body = document.querySelector(".lines tbody"), rows = Array.from(body.rows);
const words = document.getElementById("words"), kind = document.getElementById("kind"), shown = document.getElementById("shown");
function filter() {
  const wanted = words.value.trim().toLowerCase();
  let count = 0;
  for (const row of rows) {
    row.hidden = !(row.dataset.kind.split(" ").includes(kind.value) || kind.value === "")
      || !row.textContent.toLowerCase().includes(wanted);
    if (!row.hidden) count++;
  }
  shown.textContent = count + " of " + rows.length + " lines";
}
words.addEventListener("input", filter);
kind.addEventListener("change", filter);
filter();
addEventListener("hashchange", () => {
  const row = document.getElementById(location.hash.slice(1));
  if (row && row.hidden) { words.value = kind.value = ""; filter(); row.scrollIntoView({block: "center"}); }
});

rows.forEach((row, place) => { row.place = place; });
const value = (row, column) => column === 1 ? row.place : row.cells[column].textContent.replace("−", "-");
document.querySelectorAll(".lines thead th").forEach((head, column) => {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  head.append(button);
  button.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    rows.sort((a, b) => {
      const x = value(a, column), y = value(b, column), order = parseFloat(x) - parseFloat(y) || String(x).localeCompare(y) || a.place - b.place;
      return down ? -order : order;
    });
    body.append(...rows);
  });
});
