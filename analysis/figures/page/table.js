// The trials that pass the filters as a table: sorted by a click on a heading, followed by the pointer and by the keyboard.
const FEW = 25, MANY = 4;
let order = { key: "rank", up: true }, all = false;

const bound = (trial, name) => {
  const found = trial.constraints.find((c) => c.name === name), cell = element("td");
  if (!found) { cell.textContent = "—"; return cell; }
  const error = found.slack_error === null ? "" : `±${Number(found.slack_error.toPrecision(2))} `;
  cell.append(`${number(found.value)} ${found.stated} ${number(found.budget)}`,
    element("div", `${error}λ ${found.multiplier === null ? "—" : Number(found.multiplier.toPrecision(3))}`, "note"));
  return cell;
};
const text = (value, cls) => element("td", value, cls);
const linkCell = (trial) => {
  const cell = element("td");
  cell.append(openLink(trial, trial.id));
  if (trial.marks.length) cell.append(element("div", trial.marks.join(", "), "note"));
  return cell;
};
/** The samples of one trial, or of two side by side, as large as there is room for. */
let first = null;
const enlarge = (trial) => {
  const pair = element("div", undefined, "pair"), close = element("button", "close"), other = element("button", "beside another …");
  for (const each of first && first !== trial ? [first, trial] : [trial]) {
    const part = element("div");
    part.append(element("div", `Trial ${each.id}`, "head"), picture(each, "whole"), element("div",
      review.objectives.map((name) => `${name} ${measured(each, name)}`).join(", "), "note"));
    pair.append(part);
  }
  const alone = first === null || first === trial;
  first = null;
  close.onclick = () => byId("large").close();
  other.onclick = () => { first = trial; byId("large").close(); };
  byId("large").replaceChildren(pair, ...(alone && Object.keys(review.thumbnails).length > 1 ? [other, " "] : []), close);
  byId("large").showModal();
};
const sampleCell = (trial) => {
  const cell = element("td");
  if (!review.thumbnails[trial.id]) return cell;
  const button = element("button", undefined, "plain");
  button.setAttribute("aria-label", `enlarge the samples of trial ${trial.id}`);
  button.append(picture(trial, "thumb"));
  button.onclick = () => enlarge(trial);
  cell.append(button);
  return cell;
};
// Columns that a reader adds to the table: evaluations and what else the trials were measured by.
const chosen = new Set();
const choosable = review.columns.filter((column) => !["objectives", "values", "slacks", "searched parameters"].includes(column.group)
  && column.key !== "trial number");
const tableColumns = () => [
  ...(Object.keys(review.thumbnails).length ? [{ name: "samples", cell: sampleCell }] : []),
  { name: "trial", key: "trial", value: (t) => t.index, cell: linkCell },
  { name: "outcome", key: "outcome", value: (t) => Object.keys(review.marks).length - Object.keys(review.marks).indexOf(t.kind),
    cell: (t) => text(review.marks[t.kind].name) },
  { name: "budgets", key: "budgets", value: (t) => t.verdict, cell: (t) => text(t.verdict) },
  { name: "rank", key: "rank", value: (t) => t.rank, cell: (t) => text(t.rank === null ? "—" : String(t.rank), "num"), num: true },
  ...review.searched.map((name) => ({ name, key: `param:${name}`, value: (t) => at(`param:${name}`, t) ?? t.params[name],
    cell: (t) => text(t.params[name] ?? "—", "num"), num: true })),
  ...review.objectives.map((name) => ({ name, key: name, value: (t) => at(name, t), cell: (t) => text(measured(t, name), "num"), num: true })),
  ...(review.constraints.length > MANY
    ? [{ name: "worst slack", key: "worst slack", value: (t) => at("worst slack", t), cell: (t) => text(number(at("worst slack", t)), "num"), num: true }]
    : review.constraints.map((name) => ({ name, key: `slack/${name}`, value: (t) => at(`slack/${name}`, t), cell: (t) => bound(t, name) }))),
  ...choosable.filter((column) => chosen.has(column.key)).map((column) => ({ name: column.key, key: column.key,
    value: (t) => at(column.key, t), cell: (t) => text(number(at(column.key, t)), "num"), num: true })),
];
const makeChooser = () => {
  byId("columns").hidden = !choosable.length;
  for (const column of choosable) {
    const label = element("label"), box = element("input");
    Object.assign(box, { type: "checkbox" });
    box.dataset.column = column.key;
    box.onchange = () => { chosen[box.checked ? "add" : "delete"](column.key); drawTable(); };
    label.append(box, ` ${column.key}`);
    byId("columns").append(label);
  }
};
const compared = (a, b) => {
  const { value } = (tableColumns().find((column) => column.key === order.key) || tableColumns().find((column) => column.key === "rank")), [left, right] = [value(a), value(b)];
  if (left === right) return a.index - b.index;
  if (left === null || left === undefined) return 1;
  if (right === null || right === undefined) return -1;
  return (left < right ? -1 : 1) * (order.up ? 1 : -1);
};
const heading = (column) => {
  const cell = element("th", column.key ? undefined : column.name, column.num ? "num" : "");
  if (!column.key) return cell;
  const button = element("button", column.name.replaceAll(".", ".\u200b"), "plain");
  button.title = "sort";
  button.onclick = () => { order = { key: column.key, up: order.key === column.key ? !order.up : true }; drawTable(); };
  cell.append(button);
  cell.setAttribute("aria-sort", order.key !== column.key ? "none" : order.up ? "ascending" : "descending");
  return cell;
};
const bodyRow = (trial) => {
  const row = element("tr");
  row.append(...tableColumns().map((column) => column.cell(trial)));
  row.dataset.trial = trial.id;
  const point = () => {
    const place = window.Plotly && plot._fullLayout ? placeOf(trial) : null;
    if (place) show(trial, ...place);
    else hover(trial);
  };
  row.addEventListener("mouseenter", point);
  row.addEventListener("focusin", point);
  row.addEventListener("mouseleave", () => hide(false));
  return row;
};
const drawTable = () => {
  const kept = review.trials.filter(passes).sort(compared), table = byId("table");
  const top = element("tr");
  top.append(...tableColumns().map(heading));
  table.replaceChildren(top, ...kept.slice(0, all ? undefined : FEW).map(bodyRow));
  const sorted = order.key === "rank" && order.up ? ", best rank first" : "";
  byId("kept").textContent = filtered() ? `${kept.length} of ${review.trials.length} trials are in the selection.` : `${kept.length} trials${sorted}; the front has rank 1.`;
  byId("more").hidden = all || kept.length <= FEW;
  byId("more").textContent = `Show all ${kept.length}`;
  byId("clear").hidden = !filtered();
};
byId("more").onclick = () => { all = true; drawTable(); };
onChange(drawTable);
