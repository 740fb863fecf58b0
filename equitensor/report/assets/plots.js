// What all pictures share, and pictures of points that can be touched.

const redrawn = new Set(); // pictures on the page: functions that draw them anew
const TOUCH = 14; // CSS pixels within which a point is the one that is touched

function axis(title, { log = false, size = 34 } = {}) {
  const font = "12px system-ui, sans-serif", labelSize = title ? 18 : 0;
  const line = { stroke: color("line"), width: 1, ...(log ? { filter: leading } : {}) };
  const options = { label: title || undefined, stroke: color("muted"), grid: line, ticks: line, font, labelFont: font, labelSize, size };
  return Object.assign(options, { values: (u, ticks) => ticks.map(tick) }, log ? { filter: leading } : {});
}

// Of a logarithmic axis: 1, 2 and 5 of each power of ten, 1 alone where there are many powers.
function leading(u, ticks) {
  const many = ticks.length > 25;
  return ticks.map((value) => {
    const digit = value / 10 ** Math.floor(Math.log10(value) + 1e-9);
    const is = (other) => Math.abs(digit - other) < 1e-6;
    return is(1) || (!many && (is(2) || is(5))) ? value : null;
  });
}

function tick(value) {
  if (value == null) return "";
  const size = Math.abs(value);
  return size === 0 || (size >= 1e-4 && size < 1e6) ? String(Number(value.toPrecision(6))) : String(Number(value.toPrecision(6)).toExponential());
}

// A picture in an element, as wide as this is, drawn by make(width) -> uPlot.
function picture(holder, make) {
  let plot = null;
  const draw = () => {
    plot?.destroy();
    plot = null;
    if (!holder.isConnected) return void redrawn.delete(draw);
    const width = Math.floor(holder.clientWidth);
    if (width > 40) plot = make(width);
  };
  draw.points = () => plot?.redraw(false, false);
  new ResizeObserver(() => {
    const width = Math.floor(holder.clientWidth);
    if (plot && width > 40) {
      if (width !== plot.width) plot.setSize({ width, height: plot.height });
    } else draw();
  }).observe(holder);
  redrawn.add(draw);
  return { draw, current: () => plot };
}

function extent(values, log) {
  let low = Infinity, high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (log) return [Math.max(low, high / 1e4) / 1.3, high * 1.3];
  const margin = 0.04 * (high - low) || 1e-3 * Math.abs(high) || 1;
  return [low - margin, high + margin];
}

// points: { x, y, s, a, of }; line(x) -> y: drawn behind; describe(i): the words for a point; rank(i): by what arrow keys
// go from point to point, the largest first; choose(structure, atom, words): what a touch does.
function scatter({ title, points, xTitle, yTitle, log = false, square = false, line, describe, rank, choose }) {
  const { x, y, s, a } = points;
  const holder = el("div", { class: "plot", tabindex: 0, role: "group", "aria-label": `${title}: arrow keys go from point to point, the largest error first` });
  const readout = el("p", { class: "readout", "aria-live": "polite" });
  let order = null, at = -1;

  const make = (width) => {
    let [low, high] = extent(x, log), [bottom, top] = extent(y, log);
    if (square) [low, high] = [bottom, top] = [Math.min(low, bottom), Math.max(high, top)];
    const kept = (u, from, to) => [from, to];
    const scale = { time: false, distr: log ? 3 : 1, range: kept };
    const options = {
      width, height: Math.round(Math.min(380, Math.max(260, 0.8 * width))),
      scales: { x: { ...scale }, y: { ...scale } },
      axes: [axis(xTitle, { log }), axis(yTitle, { log, size: 54 })],
      series: [{}, { paths: () => null, points: { show: false } }],
      legend: { show: false },
      cursor: { points: { show: false }, drag: { x: true, y: true } },
      hooks: { draw: [paint] },
    };
    return new uPlot(options, [[low, high], [bottom, top]], holder);
  };

  function paint(u) {
    const { ctx } = u, { left, top, width, height } = u.bbox, ratio = devicePixelRatio;
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, top, width, height);
    ctx.clip();
    if (line) {
      ctx.strokeStyle = color("second");
      ctx.lineWidth = 1.5 * ratio;
      ctx.beginPath();
      for (const end of [u.scales.x.min, u.scales.x.max]) ctx.lineTo(u.valToPos(end, "x", true), u.valToPos(line(end), "y", true));
      ctx.stroke();
    }
    const dot = (i, size) => ctx.fillRect(u.valToPos(x[i], "x", true) - size / 2, u.valToPos(y[i], "y", true) - size / 2, size, size);
    ctx.fillStyle = color("first");
    ctx.globalAlpha = x.length > 300 ? 0.45 : 0.75;
    for (let i = 0; i < x.length; i++) dot(i, 3.5 * ratio);
    ctx.globalAlpha = 1;
    for (let i = 0; chosen.place >= 0 && i < x.length; i++) {
      if (s[i] !== chosen.place) continue;
      const same = a[i] >= 0 && a[i] === chosen.atom;
      ctx.fillStyle = color(same ? "second" : "fourth");
      dot(i, (same || a[i] < 0 ? 9 : 5) * ratio);
    }
    ctx.restore();
  }

  const shown = picture(holder, make);
  function nearest(event) {
    const u = shown.current();
    if (!u) return -1;
    const box = u.over.getBoundingClientRect();
    const left = event.clientX - box.left, top = event.clientY - box.top;
    let best = TOUCH ** 2, closest = -1;
    for (let i = 0; i < x.length; i++) {
      const away = (u.valToPos(x[i], "x") - left) ** 2 + (u.valToPos(y[i], "y") - top) ** 2;
      if (away < best) [best, closest] = [away, i];
    }
    return closest;
  }
  function take(i) {
    readout.textContent = describe(i) + (s[i] < 0 ? " This page does not hold its structure." : "");
    if (s[i] >= 0) choose(s[i], a[i]);
  }

  let pressed = null;
  holder.addEventListener("pointerdown", (event) => (pressed = [event.clientX, event.clientY]));
  holder.addEventListener("click", (event) => {
    const moved = pressed && Math.hypot(event.clientX - pressed[0], event.clientY - pressed[1]) > 5;
    const i = moved ? -1 : nearest(event);
    if (i >= 0) take(i);
  });
  holder.addEventListener("pointermove", (event) => {
    const i = nearest(event);
    if (i >= 0) readout.textContent = describe(i);
  });
  holder.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    order ??= [...x.keys()].filter((i) => s[i] >= 0).sort((i, j) => rank(j) - rank(i));
    if (!order.length) return;
    at = Math.min(order.length - 1, Math.max(0, at + step));
    take(order[at]);
  });
  holder.whereIs = (i) => {
    const u = shown.current(), box = u.over.getBoundingClientRect();
    return [box.left + u.valToPos(x[i], "x"), box.top + u.valToPos(y[i], "y")];
  };
  return el("figure", {}, el("h3", {}, title), holder, readout);
}
