// The page out of its content; a live one asks for newer content every few seconds.

const EVERY = 3000; // milliseconds
let content = JSON.parse(document.getElementById("content").textContent);
let shownPart = 0;

function section(id, title, ...children) {
  return el("section", { id }, el("h2", {}, title), ...children);
}

function partChoice() {
  if (content.parts.length < 2) return null;
  const names = content.parts.map((part, i) => [String(i), part.name]);
  return choice("part of the data", names, String(shownPart), (value) => {
    shownPart = Number(value);
    render();
  });
}

function sections() {
  const part = content.parts[shownPart];
  const show = (place) => showStructure(content, place);
  const shown = [];
  const errors = [definitions(content.facts), ...content.tables.map((each) => table(each))];
  if (content.facts.length || content.tables.length) shown.push(section("model", "Model", ...errors));
  shown.push(section("learning", "Learning curves", ...curves(content)));
  if (part) {
    const of = content.parts.length > 1 ? ` (${part.name})` : "";
    const notes = part.notes.map((note) => el("p", { class: "note" }, note));
    const head = [el("div", { class: "options" }, partChoice()), el("p", { class: "muted" }, part.bound), ...notes];
    shown.push(section("predictions", `Predictions${of}`, ...head, ...parity(content, part)));
    shown.push(section("errors", `Errors${of}`, ...part.tables.map((each) => table(each))));
    if (part.outliers.rows.length) {
      const help = "The structures with the largest errors, of each label in turn; a name shows its structure, a heading sorts.";
      shown.push(section("outliers", `Outliers${of}`, el("p", { class: "muted" }, help), table(part.outliers, { tall: true, show })));
    }
    const bars = calibration(content, part);
    if (bars.length) shown.push(section("error-bars", `Error bars${of}`, ...bars));
  }
  shown.push(section("config", "Config", el("pre", { tabindex: 0 }, content.config)));
  if (content.versions) shown.push(section("versions", "Versions", table(content.versions)));
  return shown;
}

function render() {
  redrawn.clear();
  const shown = sections();
  const links = shown.map((each) => el("a", { href: `#${each.id}` }, each.querySelector("h2").textContent));
  document.getElementById("top").replaceChildren(
    el("h1", {}, content.title),
    el("p", { id: "state" }, content.state),
    el("p", { class: "muted" }, content.live ? `${content.folder}, at ${content.written}; newer values come by themselves` : `${content.folder}, written ${content.written}`),
    ...content.notes.map((note) => el("p", { class: "note" }, note)),
    el("nav", { "aria-label": "sections" }, ...links),
  );
  document.getElementById("main").replaceChildren(...shown);
  markChosen(chosen.place);
}

async function renew() {
  try {
    const answer = await fetch("data.json", { cache: "no-store" });
    const next = await answer.json();
    const changed = JSON.stringify(next.curves) !== JSON.stringify(content.curves);
    content = next;
    if (changed) render();
    else document.getElementById("state").textContent = content.state;
    setTimeout(renew, EVERY);
  } catch {
    document.getElementById("state").textContent = `${content.state}. The run has ended, or was stopped: equitensor report ${content.folder} writes its report`;
  }
}

render();
const wide = matchMedia("(min-width: 1100px)").matches;
const first = content.parts[0]?.outliers.structures[0];
if (wide && first != null) showStructure(content, first); // on a narrow screen it would lie over the page
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const draw of [...redrawn]) draw();
  if (chosen.place >= 0 && !document.getElementById("viewer").hidden) showStructure(content, chosen.place, chosen.atom);
});
if (content.live) setTimeout(renew, EVERY);
