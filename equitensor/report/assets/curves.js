// Learning curves: one picture a quantity, against time, steps or epochs.

const AXES = { seconds: ["minutes", 1 / 60], step: ["steps", 1], epoch: ["epochs", 1] };
const STROKES = ["first", "second", "third"];
const curveChoice = { x: "seconds", log: true };

function curves(content) {
  const { columns, panels } = content.curves;
  const plots = el("div", { class: "plots" });
  const draw = () => plots.replaceChildren(...panels.map((panel) => curve(panel, columns)));
  const again = (name) => (value) => {
    curveChoice[name] = value;
    draw();
  };
  const options = el("div", { class: "options" });
  options.append(
    choice("against", Object.entries(AXES).map(([value, [text]]) => [value, text]), curveChoice.x, again("x")),
    checkbox("logarithmic", curveChoice.log, again("log")),
  );
  draw();
  if (!panels.length) return [el("p", { class: "muted" }, "Nothing yet: the first validation is still to come.")];
  return [options, plots];
}

function written(u, value) {
  return value == null ? "–" : short(value);
}

function curve(panel, columns) {
  const [xTitle, xFactor] = AXES[curveChoice.x];
  const log = curveChoice.log && panel.log;
  const x = columns[curveChoice.x].map((value) => value * xFactor);
  const scaled = (value) => (value == null || (log && value <= 0) ? null : value * panel.factor);
  const data = [x, ...panel.lines.map(([, column]) => columns[column].map(scaled))];
  const alone = x.length < 3;
  const line = ([name], i) => ({
    label: name, stroke: color(STROKES[i]), width: 2, dash: i === 2 ? [6, 4] : undefined, spanGaps: true,
    points: { show: alone, size: 6 }, value: written,
  });
  const holder = el("div", { class: "plot" });
  const words = panel.unit ? `${panel.title}, ${panel.unit}` : panel.title;
  picture(holder, (width) => new uPlot({
    width, height: 250,
    scales: { x: { time: false }, y: { distr: log ? 3 : 1 } },
    axes: [axis(xTitle), axis("", { log, size: 56 })],
    series: [{ label: xTitle, value: written }, ...panel.lines.map(line)],
    cursor: { drag: { x: true, y: false } },
  }, data, holder));
  return el("figure", {}, el("h3", {}, words), holder);
}
