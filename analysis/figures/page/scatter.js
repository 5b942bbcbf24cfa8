// The scatter of any two columns: trials by kind, the front's steps, the certified band, tangents, lineage, an amortised front.
const FONT = { family: "system-ui, Segoe UI, Roboto, Arial, sans-serif", size: 13, color: ink.text };
const INK = ink.front;
const plot = byId("plot");

const axis = (key) => ({
  title: { text: columns.get(key).label, standoff: 8 }, range: columns.get(key).range || undefined,
  zeroline: /slack/.test(key), zerolinecolor: ink.line, gridcolor: ink.grid, linecolor: ink.line, showline: true,
  ticks: "outside", tickcolor: ink.line, automargin: true,
});

// ---- trials -------------------------------------------------------------------------------------------------------------------
const errorOf = (key, trial) => {
  if (trial.intervals[key] !== undefined) return trial.intervals[key];
  const name = (key.match(/^(?:value|slack)\/(.*)$/) || [])[1];
  const outcome = name === undefined ? undefined : trial.constraints.find((other) => other.name === name);
  return outcome && outcome.slack_error !== null ? 1.96 * outcome.slack_error : 0;
};
/** 95 % intervals of what is on the front or tied with it, and of all trials that are several trainings. */
const errorBars = (key, picked, kind) => {
  const array = picked.map((trial) => (onFront(trial) || kind === "tied" || review.replicated ? errorOf(key, trial) : 0));
  return array.some((size) => size > 0)
    ? { type: "data", array, thickness: 1, width: 3, color: review.marks[kind].colour } : undefined;
};
/** The points of one kind: those that pass the filters, and the others as shadows. */
const points = (kind, x, y) => {
  const mark = review.marks[kind];
  const picked = review.trials.filter((t) => t.kind === kind && at(x, t) !== null && at(y, t) !== null);
  const full = mark.faint ? 0.45 : 1;
  return {
    type: "scatter", mode: "markers", name: kind, customdata: picked.map((t) => t.index),
    x: picked.map((t) => at(x, t)), y: picked.map((t) => at(y, t)), hoverinfo: "none",
    error_x: errorBars(x, picked, kind), error_y: errorBars(y, picked, kind),
    marker: { color: mark.colour, symbol: mark.symbol, size: mark.size, opacity: picked.map((t) => (passes(t) ? full : 0.1)),
      line: { width: mark.filled ? 1 : 1.6, color: mark.filled ? ink.paper : mark.colour } },
  };
};
/** On which side of a point its name stands, so that it stays inside the frame. */
const beside = (x, y, across, up) => {
  const part = (key, value) => { const range = columns.get(key).range; return range ? (value - range[0]) / (range[1] - range[0]) : 0; };
  return `${part(y, up) > 0.9 ? "bottom" : "top"} ${part(x, across) > 0.85 ? "left" : "right"}`;
};
/** Rings around the trials that have a name, and around the one that the band's slice goes through. */
const rings = (x, y) => {
  const sliced = view.off.has("band") ? null : (bandHere(x, y) || [{}])[0].through;
  const marked = review.trials.filter((t) =>
    (t.marks.length || t.id === sliced) && !view.off.has(t.kind) && at(x, t) !== null && at(y, t) !== null);
  return marked.length ? [{
    type: "scatter", mode: "markers+text", hoverinfo: "skip", x: marked.map((t) => at(x, t)), y: marked.map((t) => at(y, t)),
    text: marked.map((t) => t.marks.join(", ")), textposition: marked.map((t) => beside(x, y, at(x, t), at(y, t))), textfont: { size: 12, color: INK },
    marker: { symbol: "circle-open", size: 20, color: INK, line: { width: 2 } },
  }] : [];
};

// ---- lines --------------------------------------------------------------------------------------------------------------------
const line = (name, x, y, style, more = {}) =>
  ({ type: "scatter", mode: "lines", name, hoverinfo: "skip", connectgaps: false, x, y, line: style, ...more });
const swapped = (flip, x, y) => (flip ? [y, x] : [x, y]);

// The set of what is attained is bounded by steps, never by straight lines between trials.
const steps = (x, y) => {
  if (review.objectives.length !== 2 || x === y || !review.objectives.includes(x) || !review.objectives.includes(y)) return [];
  const sorted = review.trials.filter(onFront).map((t) => [at(x, t), at(y, t)]).sort((a, b) => a[0] - b[0]);
  const shape = review.directions[x] === "minimize" ? "hv" : "vh";
  return [line("steps", sorted.map((p) => p[0]), sorted.map((p) => p[1]), { color: INK, width: 1.8, shape })];
};
/** Which budget an axis stands for, against the objective on the other one: [budget, flipped], or null. */
const pricedAxes = (x, y) => {
  for (const [across, up, flip] of [[x, y, false], [y, x, true]]) {
    const budget = up === "objective" ? review.budgets.findIndex((each) => each.axes.includes(across)) : -1;
    if (budget >= 0) return [budget, flip];
  }
  return null;
};
/** How much of the plot's height a band takes over the budgets in view: one that fills it certifies nothing there. */
const FILLS = 0.7;
const fills = (band, across) => {
  const [low, high] = columns.get("objective").range || [0, 1], [left, right] = columns.get(across).range || [-Infinity, Infinity];
  const seen = band.at.map((_, i) => i).filter((i) => band.at[i] >= left && band.at[i] <= right);
  const inside = (value, open) => Math.min(high, Math.max(low, value === null ? open : value));
  const tall = seen.reduce((sum, i) => sum + inside(band.upper[i], high) - inside(band.lower[i], low), 0);
  return seen.length > 0 && tall > FILLS * seen.length * (high - low);
};
const bandHere = (x, y) => {
  const found = pricedAxes(x, y);
  if (!found) return null;
  const here = review.bands.filter((band) => band.budget === found[0]);
  const band = here.find((each) => each.through === view.through) || here[0];
  return band ? [band, found[1], fills(band, found[1] ? y : x)] : null;
};
const bandLines = (x, y) => {
  const found = bandHere(x, y);
  if (!found || found[2] || view.off.has("band")) return [];
  const [band, flip] = found;
  const [low, high] = columns.get("objective").range || [0, 1];
  const open = { lower: low - 9 * (high - low), upper: high + 9 * (high - low) };
  const side = (name) => band[name].map((value) => (value === null ? open[name] : value));
  const ring = swapped(flip, [...band.at, ...[...band.at].reverse()], [...side("upper"), ...side("lower").reverse()]);
  return [
    line("band", ...ring, { width: 0 }, { fill: "toself", fillcolor: ink.band }),
    ...["lower", "upper"].map((name) => line(name, ...swapped(flip, band.at, band[name]), { color: ink.edge, width: 1 })),
    line("predicted", ...swapped(flip, band.at, band.front), { color: INK, width: 1.6, dash: "dash" }),
  ];
};
/** d objective / d axis at a trial: minus the multipliers of the constraints whose budget the axis is, in the user's signs. */
const slopeAt = (trial, key) => {
  const budget = review.budgets.find((each) => each.axes.includes(key));
  const names = budget ? budget.constraints : [(key.match(/^value\/(.*)$/) || [])[1]];
  const priced = trial.constraints.filter((c) => names.includes(c.name) && c.multiplier !== null);
  if (!priced.length) return null;
  const looser = priced[0].relation === "≥" ? -1 : 1;
  return -looser * priced.reduce((sum, c) => sum + c.multiplier, 0) * (review.maximizes ? -1 : 1);
};
const TANGENTS = 24;
const size = (key) => { const [low, high] = columns.get(key).range || [0, 1]; return high - low; };
const tangents = (x, y) => {
  const flip = x === "objective", key = flip ? y : x;
  if (view.off.has("tangents") || !(flip || y === "objective") || !columns.get(key).range) return [];
  // All alike in length on the screen, and of a long front some, evenly.
  const wide = size(key), tall = size("objective"), front = review.trials.filter((t) => onFront(t) && passes(t));
  front.sort((a, b) => at(key, a) - at(key, b));
  const every = Math.ceil(front.length / TANGENTS);
  const across = [], up = [];
  for (const trial of front.filter((_, i) => i % every === 0)) {
    const middle = at(key, trial), height = at("objective", trial), slope = slopeAt(trial, key);
    if (slope === null || middle === null || height === null) continue;
    const reach = 0.032 * wide / Math.hypot(1, slope * wide / tall);
    across.push(middle - reach, middle + reach, null);
    up.push(height - slope * reach, height + slope * reach, null);
  }
  return across.length ? [line("tangents", ...swapped(flip, across, up), { color: ink.slope, width: 2 })] : [];
};
const lineage = (x, y) => {
  if (view.off.has("lineage")) return [];
  const across = [], up = [];
  for (const trial of review.trials.filter((t) => t.continued_from && passes(t))) {
    const from = trialOf.get(trial.continued_from);
    if (!from || [from, trial].some((t) => at(x, t) === null || at(y, t) === null)) continue;
    across.push(at(x, from), at(x, trial), null);
    up.push(at(y, from), at(y, trial), null);
  }
  return across.length ? [line("lineage", across, up, { color: "#8a8f98", width: 1, dash: "dot" })] : [];
};
/** The front of one network on these axes: its points that no other dominates on these two. */
const amortised = (x, y) => {
  const { points: every, directions } = review.amortised;
  if (view.off.has("amortised") || x === y) return [];
  const known = every.filter((p) => Number.isFinite(p[x]) && Number.isFinite(p[y]));
  const over = (p, q, key) => (directions[key] === "maximize" ? p[key] - q[key] : q[key] - p[key]);
  const beats = (p, q) => over(p, q, x) >= 0 && over(p, q, y) >= 0 && over(p, q, x) + over(p, q, y) > 0;
  const priced = [x, y].some((key) => key.startsWith("multiplier/")); // of multipliers none is better
  const best = known.filter((p) => priced || !known.some((q) => beats(q, p))).sort((a, b) => a[x] - b[x]);
  return best.length ? [line("amortised", best.map((p) => p[x]), best.map((p) => p[y]), { color: ink.other, width: 2 },
    { mode: "lines+markers", marker: { symbol: "square", size: 5, color: ink.other } })] : [];
};

// ---- all of it ----------------------------------------------------------------------------------------------------------------
const notes = (traces, x, y) => {
  const drawn = traces.reduce((sum, trace) => sum + trace.x.length, 0), missing = review.trials.length - drawn;
  const out = (range, value) => range && (value < range[0] || value > range[1]);
  const far = traces.reduce((sum, trace) => sum + trace.x.filter((value, i) =>
    out(columns.get(x).range, value) || out(columns.get(y).range, trace.y[i])).length, 0);
  const crosses = traces.some((trace) => trace.name === "infeasible") && !view.off.has("infeasible");
  const band = bandHere(x, y);
  return [
    crosses && steps(x, y).length ? "Faint crosses violate budgets that decide: they may lie beyond the front's line, which joins only trials that are known to keep these." : "",
    band && band[2] && !view.off.has("band") ? "The band is left out: it fills the plot, so that these trials certify next to nothing of the front here." : "",
    band && !band[2] && !view.off.has("band") ? `Band: what these trials' multipliers ${review.certificate.certified ? "certify" : "say"} of the front${review.certificate.certified ? "" : " if they converged"}, 95 % sure as a whole; dashed: the front predicted within.` : "",
    ...(band && !band[2] && !view.off.has("band") ? review.certificate.said : []),
    band && band[0].through ? `The band is the slice at the other budgets of trial ${band[0].through}.` : "",
    missing ? `${missing} of ${review.trials.length} trials have no finite value on these axes.` : "",
    far ? `${far} far-off ${far === 1 ? "point is" : "points are"} out of view: double-click shows all.` : "",
  ].filter(Boolean).join(" ");
};
let drawnAxes = "";
const drawScatter = () => {
  const { x, y } = view;
  const kinds = Object.keys(review.marks).filter((kind) => !view.off.has(kind)).map((kind) => points(kind, x, y)).filter((t) => t.x.length);
  byId("drawn").textContent = notes(kinds, x, y);
  byId("through-part").hidden = !(bandHere(x, y) || [{}])[0].through;
  const same = drawnAxes === `${x} ${y}`;
  drawnAxes = `${x} ${y}`;
  return Plotly.react(plot, [...bandLines(x, y), ...lineage(x, y), ...steps(x, y), ...tangents(x, y), ...amortised(x, y), ...kinds, ...rings(x, y)], {
    margin: { l: 64, r: 16, t: 30, b: 48 }, hovermode: "closest", hoverdistance: 12, showlegend: false, uirevision: drawnAxes,
    dragmode: same ? plot.layout.dragmode : "select", selections: same && view.picked ? plot.layout.selections : [],
    xaxis: axis(x), yaxis: axis(y), paper_bgcolor: ink.paper, plot_bgcolor: ink.paper, font: FONT,
  }, { responsive: true, displaylogo: false, doubleClick: "autosize", displayModeBar: true,
    modeBarButtons: [["select2d", "lasso2d"], ["zoom2d", "pan2d"], ["resetScale2d"], ["toImage"]] });
};
/** Where a trial's point is, in pixels of the figure; null where it is not in view. */
const placeOf = (trial) => {
  const { xaxis, yaxis } = plot._fullLayout, x = at(view.x, trial), y = at(view.y, trial);
  if (x === null || y === null) return null;
  const left = xaxis.d2p(x), top = yaxis.d2p(y);
  return left < 0 || left > xaxis._length || top < 0 || top > yaxis._length ? null : [xaxis._offset + left, yaxis._offset + top];
};
const watchScatter = () => {
  plot.on("plotly_hover", (event) => {
    const point = event.points.find((other) => other.customdata !== undefined);
    if (!point || !passes(review.trials[point.customdata])) return;
    const { xaxis, yaxis } = point;
    show(review.trials[point.customdata], xaxis._offset + xaxis.d2p(point.x), yaxis._offset + yaxis.d2p(point.y));
  });
  plot.on("plotly_unhover", () => { if (!target.matches(":hover")) hide(false); });
  plot.on("plotly_relayout", () => hide(true));
  plot.on("plotly_selected", (event) => {
    if (!event) return;
    view.picked = new Set(event.points.map((point) => point.customdata).filter((index) => index !== undefined));
    changed();
  });
  plot.on("plotly_deselect", () => { view.picked = null; changed(); });
};
