// The card beside a point: what one trial is, and the way to its run.
const CARD_ROWS = 8;  // more constraints than this would not fit beside a point; all are in trials.csv
const figure = byId("figure"), card = byId("card"), target = byId("target");

/** `words`: the numbers of the columns that may wrap. */
const factTable = (head, lines, words = new Set()) => {
  const table = element("table");
  if (head.length) {
    const top = table.insertRow();
    head.forEach((name, i) => top.append(element("th", name, i ? "num" : "")));
  }
  for (const line of lines) {
    const row = table.insertRow();
    line.forEach((cell, i) => row.append(element("td", cell, i ? (words.has(i) ? "num words" : "num") : "")));
  }
  return table;
};
/** A line of text in which names in back quotes are set as code. */
const prose = (text, cls) => {
  const made = element("div", undefined, cls);
  made.append(...text.split("`").map((part, i) => (i % 2 ? element("code", part) : part)));
  return made;
};
const measured = (trial, name) => {
  const interval = trial.intervals[name];
  return number(at(name, trial)) + (interval === undefined ? "" : ` ± ${Number(interval.toPrecision(2))}`);
};
const fillCard = (trial) => {
  card.replaceChildren();
  const close = element("button", "×", "close");
  close.setAttribute("aria-label", "close");
  close.onclick = () => hide(true);
  card.append(close);
  const marked = trial.marks.length ? ` · ${trial.marks.join(", ")}` : "";
  card.append(element("div", `Trial ${trial.id} · ${trial.status} · ${review.marks[trial.kind].name} · budgets ${trial.verdict}${marked}`, "head"));
  const why = trial.doubt || trial.reason;
  if (why) card.append(prose(why, "note"));
  if (trial.continued_from) card.append(element("div", `continued from trial ${trial.continued_from}`, "note"));
  const facts = element("div", undefined, "facts");
  if (review.thumbnails[trial.id]) facts.append(picture(trial, "samples"));
  facts.append(factTable([], Object.entries(trial.params).concat(review.objectives.map((name) => [name, measured(trial, name)]))));
  card.append(facts);
  if (trial.constraints.length) {
    const worstFirst = [...trial.constraints].sort((a, b) => (a.room ?? -Infinity) - (b.room ?? -Infinity));
    card.append(factTable(["constraint", "value", "budget", "slack ± s.e.", "standing (tolerance)", "λ"], worstFirst.slice(0, CARD_ROWS).map((c) => [
      c.name, number(c.value), `${c.relation} ${number(c.budget)}`,
      number(c.slack) + (c.slack_error === null ? "" : ` ± ${Number(c.slack_error.toPrecision(2))}`),
      `${c.standing} (${c.tolerance === null ? "—" : Number(c.tolerance.toPrecision(2))})`, number(c.multiplier)]), new Set([4])));
    const more = worstFirst.length - CARD_ROWS;
    if (more > 0) card.append(element("div", `and ${more} constraints with more slack`, "note"));
  }
  for (const sentence of review.said[trial.id] || []) card.append(prose(sentence, "said"));
  const hint = element("div", undefined, "hint");
  hint.append(openLink(trial, "Open the run"),
    boxed ? " with Ctrl-click (⌘-click) or a middle click: MLflow's viewer blocks plain ones." : " in MLflow.");
  card.append(hint);
};

let pinned = false, shown = null;
const hide = (force) => {
  if (pinned && !force) return;
  pinned = false;
  card.classList.remove("pinned");
  card.style.display = target.style.display = "none";
  hover(null);
};
const pin = () => {
  pinned = true;
  card.classList.add("pinned");
  if (shown && review.bands.some((band) => band.through === shown.id)) { view.through = shown.id; changed(); }
};
/** Shows a trial's card beside (x, y) of the figure. */
const show = (trial, x, y) => {
  if (pinned) return;
  if (shown !== trial) fillCard(trial);
  shown = trial;
  target.href = runUrl(trial);
  Object.assign(target.style, { display: "block", left: `${x}px`, top: `${y}px` });
  card.style.display = "block";
  const width = figure.clientWidth, height = figure.clientHeight;
  // Beside the point where there is room, else below it: the point stays in sight.
  const wide = card.offsetWidth + 16, right = x + wide <= width, beside = right || x >= wide;
  const left = right ? x + 16 : Math.max(0, Math.min(x - wide, width - card.offsetWidth));
  const top = beside ? Math.max(0, Math.min(y - 20, height - card.offsetHeight)) : y + 18;
  Object.assign(card.style, { left: `${left}px`, top: `${top}px` });
  hover(trial);
};
target.addEventListener("mouseleave", () => hide(false));
target.addEventListener("click", (event) => {
  if (!boxed || event.ctrlKey || event.metaKey || event.shiftKey) return;  // the browser opens the link
  event.preventDefault();
  pin();
});
document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(true); });
