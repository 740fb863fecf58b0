// A table that the headings sort, by mouse or keyboard.

function table(spec, { tall = false, show = null } = {}) {
  const words = spec.columns.map((_, i) => spec.rows.some((row) => typeof row[i] === "string"));
  const largest = spec.columns.map((column, i) => (column.bar ? Math.max(...spec.rows.map((row) => row[i] ?? 0)) : 0));
  const body = el("tbody");
  const rows = spec.rows.map((row, k) => {
    const cells = row.map((value, i) => {
      const place = spec.structures?.[k];
      const content = i === 0 && place != null && show ? el("button", { onclick: () => show(place) }, withoutFolders(value)) : short(value);
      const bar = spec.rows.length > 1 && largest[i] > 0 && value != null;
      const kind = [words[i] && "word", i === 0 && "name", bar && "bar"].filter(Boolean).join(" ");
      const attributes = { class: kind || null, title: i === 0 ? value : null };
      const cell = i === 0 ? el("th", { scope: "row", ...attributes }, content) : el("td", attributes, content);
      if (i === 0) cell.style.fontWeight = "400";
      if (bar) cell.style.setProperty("--part", `${(100 * value) / largest[i]}%`);
      return cell;
    });
    const line = el("tr", {}, ...cells);
    if (spec.structures) line.dataset.place = spec.structures[k];
    return { row, line };
  });
  const heads = spec.columns.map((column, i) => {
    const unit = column.unit ? el("span", { class: "unit" }, column.unit) : null;
    const sortable = spec.rows.length > 1;
    const head = el("th", { scope: "col", class: words[i] ? "word" : null, "aria-sort": sortable ? "none" : null });
    head.append(sortable ? el("button", { onclick: () => sort(i) }, column.title) : column.title, ...(unit ? [unit] : []));
    return head;
  });

  function sort(i) {
    // Numbers from the largest down at first, as errors are looked at; words from the first letter up.
    const before = heads[i].getAttribute("aria-sort");
    const down = before === "none" ? !words[i] : before === "ascending";
    for (const head of heads) head.setAttribute("aria-sort", "none");
    heads[i].setAttribute("aria-sort", down ? "descending" : "ascending");
    const compare = (a, b) => (words[i] ? a.localeCompare(b, undefined, { numeric: true }) : a - b);
    rows.sort(({ row: { [i]: a } }, { row: { [i]: b } }) => {
      if (a == null || b == null) return (a == null) - (b == null);
      return (down ? -1 : 1) * compare(a, b);
    });
    body.replaceChildren(...rows.map(({ line }) => line));
  }

  body.append(...rows.map(({ line }) => line));
  const drawn = el("table", { class: "data" }, el("thead", {}, el("tr", {}, ...heads)), body);
  const scroll = { class: tall ? "scroll tall" : "scroll", tabindex: 0, role: "region", "aria-label": spec.title || "table" };
  return el("div", {}, spec.title ? el("h3", {}, spec.title) : null, el("div", scroll, drawn));
}

function withoutFolders(name) {
  return name.replace(/[^\s(,]+[/\\]/g, "");
}

function markChosen(place) {
  for (const line of document.querySelectorAll("tr[data-place]")) {
    line.classList.toggle("chosen", line.dataset.place === String(place));
  }
}
