// The structure that was chosen, in 3D, with the errors of the forces on its atoms.

const chosen = { place: -1, atom: -1 };
const viewerChoice = { by: "element", arrows: false };
let molecule = null, cameFrom = null;

function showStructure(content, place, atom = -1) {
  const structure = content.structures[place];
  const other = place !== chosen.place;
  Object.assign(chosen, { place, atom });
  const aside = document.getElementById("viewer");
  if (aside.hidden) cameFrom = document.activeElement;
  aside.hidden = false;
  if (!aside.firstChild) build(aside, content);
  aside.dataset.place = place;
  aside.querySelector("h2").textContent = structure.name;
  aside.querySelector("dl").replaceWith(definitions(atom < 0 ? structure.facts : [...structure.facts, onAtom(structure, atom)]));
  aside.querySelector(".of-forces").hidden = !structure.force_error;
  paintMolecule(aside, structure, other);
  markChosen(place);
  for (const draw of redrawn) draw.points();
}

function onAtom(structure, i) {
  const error = atomErrors(structure)?.[i];
  const words = error == null ? "" : `, error of its force ${short(1000 * error)} meV/A`;
  return ["atom", `${structure.symbols[i]} ${i}${words}`];
}

function atomErrors(structure) {
  const e = structure.force_error;
  return e && structure.symbols.map((_, i) => (e[3 * i] == null ? null : Math.hypot(e[3 * i], e[3 * i + 1], e[3 * i + 2])));
}

function build(aside, content) {
  const again = (name) => (value) => {
    viewerChoice[name] = value;
    paintMolecule(aside, content.structures[chosen.place], false);
  };
  const close = () => {
    aside.hidden = true;
    cameFrom?.focus?.();
  };
  aside.append(
    el("div", { class: "bar" }, el("h2"), el("button", { class: "close", onclick: close }, "close")),
    el("div", { class: "molecule" }),
    el("div", { class: "options of-forces" },
      choice("color by", [["element", "element"], ["error", "error of the force"]], viewerChoice.by, again("by")),
      checkbox("errors of forces as arrows", viewerChoice.arrows, again("arrows"))),
    el("dl"),
  );
  aside.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && getComputedStyle(aside.querySelector(".close")).display !== "none") close();
  });
  aside.view = openViewer(aside.querySelector(".molecule"));
  if (aside.view) new ResizeObserver(() => aside.view.resize()).observe(aside.querySelector(".molecule"));
}

// Without WebGL there is no picture, but a list of the atoms.
function openViewer(holder) {
  const test = document.createElement("canvas");
  if (!(test.getContext("webgl2") ?? test.getContext("webgl"))) return null;
  try {
    return $3Dmol.createViewer(holder, { backgroundColor: color("panel"), antialias: true, disableFog: true });
  } catch {
    return null;
  }
}

function paintMolecule(aside, structure, other) {
  const { view } = aside;
  if (!view) return listAtoms(aside.querySelector(".molecule"), structure);
  const { symbols, pos } = structure;
  if (other) {
    const lines = symbols.map((symbol, i) => `${symbol} ${pos[3 * i]} ${pos[3 * i + 1]} ${pos[3 * i + 2]}`);
    view.removeAllModels();
    molecule = view.addModel(`${symbols.length}\n\n${lines.join("\n")}`, "xyz");
    molecule.setClickable({}, true, (atom) => showStructure({ structures: { [chosen.place]: structure } }, chosen.place, atom.index));
  }
  view.setBackgroundColor(color("panel"));
  view.removeAllShapes();
  view.removeAllLabels();
  styleAtoms(structure);
  drawCell(view, structure);
  if (viewerChoice.arrows && structure.force_error) drawArrows(view, structure);
  if (chosen.atom >= 0) markAtom(view, structure, chosen.atom);
  if (other) {
    view.zoomTo();
    view.zoom(1.2);
  }
  view.render();
}

function styleAtoms(structure) {
  const errors = viewerChoice.by === "error" ? atomErrors(structure) : null;
  const sphere = { scale: 0.27 }, stick = { radius: 0.12 };
  if (errors) {
    const most = Math.max(...errors.map((error) => error ?? 0)) || 1;
    // From grey, without error, to red, the largest of this structure.
    const shade = (atom) => {
      const part = (errors[atom.index] ?? 0) / most;
      const mix = (from, to) => Math.round(from + (to - from) * part);
      return (mix(0xb8, 0xd6) << 16) + (mix(0xbe, 0x20) << 8) + mix(0xc6, 0x1c);
    };
    sphere.colorfunc = stick.colorfunc = shade;
  } else {
    sphere.colorscheme = stick.colorscheme = "Jmol";
  }
  molecule.setStyle({}, { sphere, stick });
}

function point(values, i) {
  return { x: values[3 * i], y: values[3 * i + 1], z: values[3 * i + 2] };
}

function drawCell(view, { cell, pbc }) {
  if (!cell) return;
  const axes = [0, 1, 2].filter((k) => Math.hypot(...cell.slice(3 * k, 3 * k + 3)) > 0);
  const corner = (set) => [0, 1, 2].map((axis) => set.reduce((sum, k) => sum + cell[3 * k + axis], 0));
  for (let mask = 0; mask < 8; mask++) {
    const set = axes.filter((k) => mask & (1 << k));
    if (set.length !== [0, 1, 2].filter((k) => mask & (1 << k)).length) continue;
    for (const k of axes.filter((k) => !(mask & (1 << k)))) {
      view.addLine({ start: point(corner(set), 0), end: point(corner([...set, k]), 0), color: color("muted"), dashed: !pbc[k] });
    }
  }
}

function drawArrows(view, structure) {
  const most = Math.max(...atomErrors(structure).map((error) => error ?? 0));
  const longest = 1.6, outside = 0.4; // Angstrom; arrows begin outside of their atoms
  structure.symbols.forEach((_, i) => {
    const e = point(structure.force_error, i), from = point(structure.pos, i);
    const size = e.x == null ? 0 : Math.hypot(e.x, e.y, e.z);
    if (!(size > 0.03 * most)) return;
    const ahead = (away) => ({ x: from.x + (away * e.x) / size, y: from.y + (away * e.y) / size, z: from.z + (away * e.z) / size });
    view.addArrow({ start: ahead(outside), end: ahead(outside + (longest * size) / most), radius: 0.08, color: color("fourth") });
  });
}

function markAtom(view, structure, i) {
  view.addSphere({ center: point(structure.pos, i), radius: 0.65, color: color("second"), alpha: 0.45 });
  view.addLabel(`${structure.symbols[i]} ${i}`, {
    position: point(structure.pos, i), backgroundColor: color("ink"), fontColor: color("page"), backgroundOpacity: 0.85,
    fontSize: 12, inFront: true, alignment: "bottomLeft",
  });
}

function listAtoms(holder, { symbols, pos }) {
  const lines = symbols.map((symbol, i) => el("li", {}, `${symbol} ${pos.slice(3 * i, 3 * i + 3).join(" ")}`));
  holder.replaceChildren(el("p", { class: "muted" }, "This browser shows no 3D (WebGL is off): atoms, in Angstrom"), el("ul", {}, ...lines));
}
