// Sorts the table of verdicts by the column whose heading is pressed. Without it the page reads the same.
for (const [column, heading] of document.querySelectorAll("#verdicts thead th").entries()) {
  if (heading.className === "drawing") continue;
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = heading.textContent;
  heading.replaceChildren(button);
  button.addEventListener("click", () => {
    const down = heading.getAttribute("aria-sort") === "ascending";
    for (const other of heading.parentElement.children) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => row.cells[column].dataset.sort ?? row.cells[column].textContent;
    const order = (a, b) => key(a).localeCompare(key(b), "en", { numeric: true });
    const number = (a, b) => Number(key(a)) - Number(key(b));
    const body = heading.closest("table").tBodies[0];
    const rows = [...body.rows].sort(heading.className === "number" ? number : order);
    body.append(...(down ? rows.reverse() : rows));
  });
}
for (const hint of document.querySelectorAll(".script")) hint.hidden = false;
// A link into a closed part opens it.
const opened = () => document.getElementById(location.hash.slice(1))?.querySelector("details")?.setAttribute("open", "");
addEventListener("hashchange", opened);
opened();
