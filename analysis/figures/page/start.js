// The page's start: menus, legend, the hypervolume, and then all of it.
const svg = (inner) => `<svg width="18" height="14" viewBox="-9 -7 18 14" aria-hidden="true">${inner}</svg>`;
// Those of the lines; a kind of point brings its own.
const GLYPHS = {
  band: '<rect x="-9" y="-5" width="18" height="10" fill="currentColor" opacity=".14"/><path d="M-9 0H9" stroke="currentColor" stroke-width="1.6" stroke-dasharray="4 3"/>',
  tangents: '<path d="M-8-4 8 4" stroke="#b45309" stroke-width="2.4"/>', lineage: '<path d="M-9 0H9" stroke="#8a8f98" stroke-dasharray="2 2"/>',
  amortised: '<path d="M-9 0H9" stroke="#0f766e" stroke-width="2"/><rect x="-2.5" y="-2.5" width="5" height="5" fill="#0f766e"/>',
};
const legendItem = (key, label, drawing, hint) => {
  const item = element("label"), box = element("input");
  Object.assign(box, { type: "checkbox", checked: true });
  box.dataset.kind = key;
  box.onchange = () => { view.off[box.checked ? "delete" : "add"](key); hide(true); changed(); };
  const glyph = element("span");
  glyph.innerHTML = svg(drawing);
  item.append(box, glyph, label);
  item.title = hint || "";
  return item;
};
const makeLegend = () => {
  for (const kind of Object.keys(review.marks).reverse()) {
    const count = review.trials.filter((t) => t.kind === kind).length;
    const { name, colour, glyph, hint } = review.marks[kind];
    if (count) byId("legend").append(legendItem(kind, `${name} (${count})`, glyph.replaceAll("C", colour), hint));
  }
  const lines = [
    ["band", review.certificate.certified ? "certified band" : "band, if converged", review.bands.length],
    ["tangents", "slopes −λ", review.trials.some((t) => onFront(t) && t.constraints.some((c) => c.multiplier !== null))],
    ["lineage", "continued from", review.trials.some((t) => t.continued_from)],
    ["amortised", "amortised front", review.amortised.points.length],
  ];
  for (const [key, label, there] of lines) if (there) byId("legend").append(legendItem(key, label, GLYPHS[key]));
};
const fillMenu = (menu, end) => {
  for (const group of new Set(review.columns.map((column) => column.group))) {
    const made = element("optgroup");
    made.label = group;
    for (const column of review.columns.filter((other) => other.group === group)) {
      made.append(new Option(column.label, column.key, false, column.key === view[end]));
    }
    menu.append(made);
  }
  menu.addEventListener("change", () => { view[end] = menu.value; view.picked = null; hide(true); changed(); });
};
const fillThrough = () => {
  const ids = [...new Set(review.bands.map((band) => band.through).filter(Boolean))];
  view.through = ids.includes(review.through) ? review.through : ids[0] || null;
  byId("through").append(...ids.map((id) => new Option(`trial ${id}`, id, false, id === view.through)));
  byId("through").onchange = () => { view.through = byId("through").value; changed(); };
  onChange(() => { byId("through").value = view.through; });
};
const drawHistory = () => {
  if (review.history.length < 2) { byId("history-part").remove(); return undefined; }
  return Plotly.react("history", [{
    type: "scatter", mode: "lines", line: { shape: "hv", width: 1.8, color: INK },
    x: review.history.map((_, i) => i + 1), y: review.history, customdata: review.trials.map((t) => t.id),
    hovertemplate: "after trial %{customdata}: %{y:.4g}<extra></extra>",
  }], {
    margin: { l: 64, r: 16, t: 8, b: 44 }, paper_bgcolor: ink.paper, plot_bgcolor: ink.paper, font: { ...FONT, size: 12.5 },
    xaxis: { ...axis("trial number"), range: undefined, title: { text: "trials" } },
    yaxis: { title: { text: "hypervolume" }, gridcolor: ink.grid, rangemode: "tozero", automargin: true },
  }, { responsive: true, displayModeBar: false });
};

byId("how").textContent = boxed
  ? "Ctrl-click (⌘-click) or middle-click a point or a trial's number to open its run: MLflow's viewer blocks plain clicks. Drag to select."
  : "Click a point or a trial's number to open its run in MLflow. Drag to select.";
byId("clear").onclick = () => {
  view.picked = null;
  view.brushes.clear();
  for (const one of axes) if (one.from) one.from.value = one.to.value = "";
  changed();
};
let table = "";
try {
  drawTable();
  makeChooser();
  table = "The table below is complete.";
  makeLegend();
  makeParallel();
  fillThrough();
  await loadPlotly();
  fillMenu(byId("x-axis"), "x");
  fillMenu(byId("y-axis"), "y");
  await drawScatter();
  onChange(drawScatter);
  watchScatter();
  makeWalk();
  byId("loading").remove();
  document.body.dataset.ready = "yes";
  performance.mark("ready");
  requestAnimationFrame(() => drawHistory());
} catch (error) {
  byId("loading").textContent = `The figure could not be drawn: ${error}. ${table}`;
  byId("loading").className = "error";
  document.body.dataset.ready = "failed";
}
