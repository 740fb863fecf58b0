// The pictures of one part of the data whose points show their structures.

const parityChoice = { error: false };

function parity(content, part) {
  const plots = el("div", { class: "plots" });
  const draw = () => plots.replaceChildren(...part.parity.map((each) => parityPlot(content, each)));
  draw();
  const options = checkbox("errors instead of predictions", parityChoice.error, (value) => {
    parityChoice.error = value;
    draw();
  });
  const help = "Touch a point, or go from point to point with the arrow keys, and its structure shows in 3D; drag to zoom, double click to zoom out.";
  return [el("p", { class: "muted" }, help), el("div", { class: "options" }, options), plots];
}

function where(content, place, atom) {
  const structure = content.structures[place];
  if (!structure) return "";
  return `${structure.name}${atom < 0 ? "" : `, atom ${structure.symbols[atom]} ${atom}`}: `;
}

function drawnOf({ x, of }) {
  return x.length < of ? `${x.length} of ${of} points: a tenth with the largest errors, the others drawn at random` : "";
}

function parityPlot(content, { title, unit, mae, rmse, points }) {
  const { x, y, s, a } = points;
  const error = x.map((value, i) => 1000 * (y[i] - value));
  const shown = parityChoice.error ? { ...points, y: error } : points;
  const figure = scatter({
    title: `${title}: RMSE ${short(rmse)}, MAE ${short(mae)} m${unit}`,
    points: shown,
    xTitle: `reference, ${unit}`,
    yTitle: parityChoice.error ? `predicted - reference, m${unit}` : `predicted, ${unit}`,
    square: !parityChoice.error,
    line: parityChoice.error ? () => 0 : (value) => value,
    describe: (i) => `${where(content, s[i], a[i])}predicted ${y[i]}, reference ${x[i]} ${unit}, error ${short(error[i])} m${unit}`,
    rank: (i) => Math.abs(error[i]),
    choose: (place, atom) => showStructure(content, place, atom),
  });
  figure.append(el("figcaption", {}, drawnOf(points)));
  return figure;
}

function calibration(content, part) {
  if (!part.calibration.length) return [];
  const plots = el("div", { class: "plots" }, ...part.calibration.flatMap((each) => [barsPlot(content, each), coverage(each)]));
  return [...part.calibration_lines.map((line) => el("p", {}, line)), plots];
}

function barsPlot(content, { title, unit, points, ninety }) {
  const { x, y, s, a } = points;
  const figure = scatter({
    title: `${title}: error against error bar`,
    points,
    xTitle: `standard deviation, ${unit}`,
    yTitle: `|error|, ${unit}`,
    log: true,
    line: (value) => ninety * value,
    describe: (i) => `${where(content, s[i], a[i])}standard deviation ${short(x[i])}, |error| ${short(y[i])} ${unit}`,
    rank: (i) => y[i] / x[i],
    choose: (place, atom) => showStructure(content, place, atom),
  });
  figure.append(el("figcaption", {}, `90 % of the points should lie below the line. ${drawnOf(points)}`));
  return figure;
}

function coverage({ title, expected, observed }) {
  const holder = el("div", { class: "plot" });
  const percent = (values) => values.map((value) => 100 * value);
  const line = (label, stroke, dash) => ({ label, stroke: color(stroke), width: 2, dash, value: written });
  picture(holder, (width) => new uPlot({
    width, height: Math.round(Math.min(340, Math.max(240, 0.7 * width))),
    scales: { x: { time: false, range: [0, 100] }, y: { range: [0, 100] } },
    axes: [axis("errors that the interval should hold, %"), axis("errors that it holds, %", { size: 44 })],
    series: [{ label: "should hold", value: written }, line("holds", "first"), line("ideal", "second", [6, 4])],
  }, [percent(expected), percent(observed), percent(expected)], holder));
  return el("figure", {}, el("h3", {}, `${title}: coverage`), holder);
}
