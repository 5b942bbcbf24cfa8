// Parallel coordinates: one axis a column, one line a trial; a range brushed on an axis filters the whole page.
const parallel = byId("parallel"), canvas = byId("lines"), pen = canvas.getContext("2d");
const TOP = 14, HEIGHT = 220, LEAST = 96;
const axes = review.parallel.map((key) => {
  const column = columns.get(key), [low, high] = column.range;
  const inside = column.values.filter((value) => value !== null && value >= low && value <= high);
  return { key, low: Math.min(...inside), high: Math.max(...inside), log: column.log, x: 0 };
});
const scaled = (value, log) => (log ? Math.log(value) : value);
/** The height of a value on its axis; beyond its ends at the end. */
const heightOf = (one, value) => {
  const share = (scaled(value, one.log) - scaled(one.low, one.log)) / (scaled(one.high, one.log) - scaled(one.low, one.log));
  return TOP + HEIGHT * (1 - Math.min(1, Math.max(0, share)));
};
const valueAt = (one, height) => {
  const share = 1 - (height - TOP) / HEIGHT;
  if (share <= 0) return one.low;  // rounding would leave out the trial that is there
  if (share >= 1) return one.high;
  const value = scaled(one.low, one.log) + share * (scaled(one.high, one.log) - scaled(one.low, one.log));
  return one.log ? Math.exp(value) : value;
};

const drawLine = (trial, colour, width, dash = []) => {
  pen.strokeStyle = colour;
  pen.lineWidth = width;
  pen.setLineDash(dash);
  pen.beginPath();
  let broken = true;
  for (const one of axes) {
    const value = at(one.key, trial);
    if (value !== null) pen[broken ? "moveTo" : "lineTo"](one.x, heightOf(one, value));
    broken = value === null;
  }
  pen.stroke();
};
const drawParallel = () => {
  if (axes.length < 2) return;
  const width = Math.max(parallel.clientWidth, axes.length * LEAST), sharp = window.devicePixelRatio || 1;
  byId("parallel-inner").style.width = `${width}px`;
  Object.assign(canvas, { width: width * sharp, height: (TOP + HEIGHT + 8) * sharp });
  Object.assign(canvas.style, { width: `${width}px`, height: `${TOP + HEIGHT + 8}px` });
  pen.setTransform(sharp, 0, 0, sharp, 0, 0);
  axes.forEach((one, i) => { one.x = (i + 0.5) * (width / axes.length); });
  const order = Object.keys(review.marks);
  const sorted = review.trials.filter((t) => !view.off.has(t.kind)).sort((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind));
  for (const trial of sorted.filter((t) => !passes(t))) drawLine(trial, "rgba(138, 143, 152, 0.12)", 1);
  const kept = sorted.filter(passes), light = Math.max(0.08, Math.min(0.5, 50 / kept.length));
  for (const trial of kept) {
    const mark = review.marks[trial.kind], front = onFront(trial);
    pen.globalAlpha = front ? 0.85 : mark.faint ? 0.6 * light : light;
    drawLine(trial, mark.colour, front ? 1.8 : 1, mark.faint ? [4, 3] : []);
  }
  pen.globalAlpha = 1;
  if (view.hovered) drawLine(view.hovered, ink.slope, 3.2);
  for (const one of axes) drawAxis(one);
};
const drawAxis = (one) => {
  pen.setLineDash([]);
  pen.strokeStyle = ink.soft;
  pen.lineWidth = 1.2;
  pen.beginPath();
  pen.moveTo(one.x, TOP);
  pen.lineTo(one.x, TOP + HEIGHT);
  pen.stroke();
  const brush = view.brushes.get(one.key);
  if (!brush) return;
  const top = heightOf(one, brush[1]), bottom = heightOf(one, brush[0]);
  pen.fillStyle = "rgba(180, 83, 9, 0.25)";
  pen.strokeStyle = ink.slope;
  pen.fillRect(one.x - 8, top, 16, Math.max(2, bottom - top));
  pen.strokeRect(one.x - 8, top, 16, Math.max(2, bottom - top));
};

// ---- brushing, by dragging along an axis or by its two fields ------------------------------------------------------------------
const setBrush = (one, low, high) => {
  const [from, to] = [low ?? -Infinity, high ?? Infinity];
  if (from === -Infinity && to === Infinity) view.brushes.delete(one.key);
  else view.brushes.set(one.key, [from, to]);
  one.from.value = Number.isFinite(from) ? number(from) : "";
  one.to.value = Number.isFinite(to) ? number(to) : "";
  changed();
};
const spot = (event) => {
  const box = canvas.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
};
const axisNear = (x) => axes.find((one) => Math.abs(one.x - x) <= 16);
let dragged = null;
canvas.addEventListener("pointerdown", (event) => {
  const [x, y] = spot(event), one = axisNear(x);
  if (!one) return;
  dragged = { one, start: y, moved: false };
  canvas.setPointerCapture(event.pointerId);
});
canvas.addEventListener("pointermove", (event) => {
  const [x, y] = spot(event);
  canvas.style.cursor = axisNear(x) ? "ns-resize" : "default";
  if (!dragged) { hoverNearest(x, y); return; }
  dragged.moved ||= Math.abs(y - dragged.start) > 3;
  const ends = [valueAt(dragged.one, dragged.start), valueAt(dragged.one, y)].sort((a, b) => a - b);
  if (dragged.moved) setBrush(dragged.one, ...ends);
});
canvas.addEventListener("pointerup", () => {
  if (dragged && !dragged.moved) setBrush(dragged.one, null, null);
  dragged = null;
});
canvas.addEventListener("pointerleave", () => { if (!dragged) hide(false); });
/** The trial whose line is nearest to the pointer, between the two axes around it. */
const hoverNearest = (x, y) => {
  const right = axes.findIndex((one) => one.x > x), [before, after] = [axes[right - 1], axes[right]];
  if (!before || !after) return;
  let best = null, least = 8;
  for (const trial of review.trials.filter(passes)) {
    const [from, to] = [at(before.key, trial), at(after.key, trial)];
    if (from === null || to === null) continue;
    const share = (x - before.x) / (after.x - before.x);
    const apart = Math.abs(heightOf(before, from) * (1 - share) + heightOf(after, to) * share - y);
    if (apart < least) [best, least] = [trial, apart];
  }
  const place = best && placeOf(best);
  if (place) show(best, ...place);
  else { hide(false); hover(best); }
};
const field = (one, end, placeholder) => {
  const made = element("input");
  Object.assign(made, { type: "number", step: "any", placeholder: number(placeholder) });
  made.setAttribute("aria-label", `${columns.get(one.key).label} ${end}`);
  made.addEventListener("change", () => {
    // The other end stays as it is, of which its field shows some digits.
    const [from, to] = view.brushes.get(one.key) || [], value = made.value === "" ? null : Number(made.value);
    setBrush(one, made === one.from ? value : from, made === one.to ? value : to);
  });
  return made;
};
const makeParallel = () => {
  if (axes.length < 2) { byId("parallel-part").remove(); return; }
  for (const one of axes) {
    const title = element("div", one.key.replace(/^param:/, "").replaceAll(".", ".\u200b"), "axis-name");
    title.title = columns.get(one.key).label;
    byId("axis-names").append(title);
    one.to = field(one, "at most", one.high);
    one.from = field(one, "at least", one.low);
    const fields = element("div", undefined, "fields");
    fields.append(one.to, one.from);
    byId("axis-fields").append(fields);
  }
  onChange(drawParallel);
  onHover(drawParallel);
  new ResizeObserver(() => drawParallel()).observe(parallel);
};
