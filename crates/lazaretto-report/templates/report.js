"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  for (const tool of all(".tool[hidden]")) tool.hidden = false;

  // One button that opens or closes all examples.
  for (const button of all("button[data-toggle]")) {
    button.addEventListener("click", () => {
      const parts = all(button.dataset.toggle);
      const open = !parts.some((part) => part.open);
      for (const part of parts) part.open = open;
      button.textContent = open ? "Close examples" : "Open examples";
    });
  }

  const table = document.getElementById("record-table");
  if (table) {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const texts = rows.map((row) => row.textContent.toLowerCase());
    const status = document.getElementById("filtered");
    const filter = document.getElementById("filter");
    filter.addEventListener("input", () => {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      rows.forEach((row, index) => {
        row.hidden = !words.every((word) => texts[index].includes(word));
        if (!row.hidden) shown += 1;
      });
      status.textContent = words.length ? ` · ${shown} of ${rows.length} shown` : "";
    });

    all("th[data-sort]", table).forEach((head) => {
      const column = head.cellIndex;
      const numeric = head.dataset.sort === "n";
      const key = (row) => {
        const cell = row.cells[column];
        return numeric ? Number(cell.dataset.v) : cell.textContent.trim();
      };
      const sort = () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        for (const other of all("th[aria-sort]", table)) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const compare = numeric ? (a, b) => a - b : (a, b) => a.localeCompare(b);
        const sorted = [...rows].sort((a, b) => compare(key(a), key(b)) * (up ? 1 : -1));
        body.append(...sorted);
      };
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      button.addEventListener("click", sort);
      head.append(button);
    });
  }

  // Paper cannot be clicked: print with everything open that was closed on screen.
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = all("details:not([open])");
    for (const part of closed) part.open = true;
  });
  addEventListener("afterprint", () => {
    for (const part of closed) part.open = false;
  });
})();
