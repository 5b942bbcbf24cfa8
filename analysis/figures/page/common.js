// What all parts of the page share: the review (see front_html.py), links, which trials pass the filters, makers of elements.
const byId = (id) => document.getElementById(id);
const review = await (async () => JSON.parse(await unpacked("review")))().catch((error) => {
  byId("loading").textContent = `This browser cannot read the page: ${error}. trials.csv beside it has the trials.`;
  byId("loading").className = "error";
  document.body.dataset.ready = "failed";
  throw error;
});
const columns = new Map(review.columns.map((column) => [column.key, column]));
/** Records of the trials, which the page holds by column (see trial_columns.py). */
const trialsOf = (packed) => {
  const listOf = (list) => (typeof list === "string" ? columns.get(list).values : Array.isArray(list) ? list : list.at.map((i) => list.of[i]));
  const listsOf = (lists) => Object.entries(lists).map(([name, list]) => [name, listOf(list)]);
  const at = (lists, index) => Object.fromEntries(lists.map(([name, list]) => [name, list[index]]));
  const there = (lists, index) => Object.fromEntries(lists.map(([name, list]) => [name, list[index]]).filter(([, value]) => value !== null));
  const own = listsOf(packed.own), intervals = listsOf(packed.intervals);
  const params = listsOf(packed.params).map(([name, list]) => [name, list.map((value) => (typeof value === "number" ? number(value) : value))]);
  const constraints = Object.entries(packed.constraints).map(([name, lists]) => [name, listsOf(lists)]);
  return listOf(packed.own.id).map((_, index) => ({
    index, ...at(own, index), marks: packed.marks[index] || [], params: there(params, index), intervals: there(intervals, index),
    constraints: constraints.map(([name, lists]) => ({ name, ...at(lists, index) })).filter((outcome) => outcome.relation !== null),
  }));
};
const number = (value) => (value === null || value === undefined ? "—" : String(Number(value.toPrecision(4))));
review.trials = trialsOf(review.trials);
const trialOf = new Map(review.trials.map((trial) => [trial.id, trial]));
const onFront = (trial) => trial.kind.startsWith("front");
const at = (key, trial) => (columns.has(key) ? columns.get(key).values[trial.index] : null);

// MLflow shows an HTML artifact in an iframe that is sandboxed to scripts only: its address is a blob of MLflow's own origin,
// and neither window.open nor window.top nor a plain click on a link of whatever target gets out of it. The browser still
// lets a person's Ctrl-click or middle click on a link open a new tab, so every point becomes a real link under the pointer.
const blobOrigin = (location.href.match(/^blob:(https?:\/\/[^/]+)/) || [])[1];
const boxed = blobOrigin !== undefined;
const sameOrigin = (url) => { try { return new URL(url).origin === blobOrigin; } catch { return false; } };
const base = (boxed && !sameOrigin(review.base_url) ? blobOrigin : review.base_url).replace(/\/+$/, "");
const runUrl = (trial) => base + review.run_url.replace("{experiment}", review.experiment_id).replace("{run}", trial.run);

// ---- what is shown: switched off in the legend, brushed in the parallel coordinates, picked in the scatter ------------------
const view = { x: review.axes[0], y: review.axes[1], off: new Set(), brushes: new Map(), picked: null, through: null, hovered: null };
const redraws = [], hovers = [];
const onChange = (redraw) => redraws.push(redraw);
const onHover = (redraw) => hovers.push(redraw);
let pending = false;
const changed = () => {
  if (pending) return;
  pending = true;
  requestAnimationFrame(() => { pending = false; redraws.forEach((redraw) => redraw()); });
};
const hover = (trial) => {
  if (view.hovered === trial) return;
  view.hovered = trial;
  hovers.forEach((redraw) => redraw());
};
const inBrushes = (trial) => {
  for (const [key, [low, high]] of view.brushes) {
    const value = at(key, trial);
    if (value === null || value < low || value > high) return false;
  }
  return true;
};
const passes = (trial) => !view.off.has(trial.kind) && (view.picked === null || view.picked.has(trial.index)) && inBrushes(trial);
const filtered = () => view.brushes.size > 0 || view.picked !== null;

// ---- light or dark, as the system has it -------------------------------------------------------------------------------------
const dark = matchMedia("(prefers-color-scheme: dark)").matches;
const ink = dark
  ? { text: "#e3e8ef", soft: "#9aa6b5", grid: "#2b333e", line: "#5b6675", paper: "#14181e", front: "#a9c8ff", slope: "#f0a35e", other: "#3fbfae",
      band: "rgba(169, 200, 255, 0.14)", edge: "rgba(169, 200, 255, 0.5)" }
  : { text: "#1c2430", soft: "#5b6675", grid: "#e8ebef", line: "#9aa3af", paper: "#ffffff", front: review.marks.front.colour, slope: "#b45309",
      other: "#0f766e", band: "rgba(11, 46, 99, 0.10)", edge: "rgba(11, 46, 99, 0.4)" };
// The front's navy would vanish on black, and a brown nearly so.
if (dark) {
  const lighter = { [review.marks.front.colour]: ink.front, "#a16207": "#e0b04b", "#c2410c": "#ff8a5c" };
  for (const mark of Object.values(review.marks)) mark.colour = lighter[mark.colour] || mark.colour;
}

// ---- small makers -----------------------------------------------------------------------------------------------------------
const element = (tag, text, cls) => {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (cls) made.className = cls;
  return made;
};
const openLink = (trial, text) => {
  const link = element("a", text);
  Object.assign(link, { href: runUrl(trial), target: "_blank", rel: "noopener", title: "open the run in MLflow" });
  return link;
};
const picture = (trial, cls) => {
  const image = element("img", undefined, cls);
  Object.assign(image, { src: review.thumbnails[trial.id], alt: `samples of trial ${trial.id}` });
  return image;
};
