// A walk along the front: one trial after another, in the order of the values across, with its card beside its point.
const walk = byId("walk"), walked = byId("walked");
let onWalk = [];
/** The trials of the front that are drawn, from the left to the right. */
const along = () => review.trials
  .filter((trial) => onFront(trial) && passes(trial) && at(view.x, trial) !== null && at(view.y, trial) !== null)
  .sort((a, b) => at(view.x, a) - at(view.x, b));
const prices = (trial) => trial.constraints.filter((c) => c.multiplier !== null).slice(0, MANY)
  .map((c) => `λ ${c.name} ${Number(c.multiplier.toPrecision(3))}`);
const saidOf = (trial) => [`trial ${trial.id}: ${view.x} ${number(at(view.x, trial))}`, `${view.y} ${number(at(view.y, trial))}`, ...prices(trial)].join(", ");
const takeStep = () => {
  const trial = onWalk[Number(walk.value)];
  if (!trial) return;
  walked.textContent = saidOf(trial);
  walk.setAttribute("aria-valuetext", walked.textContent);
  hide(true);
  const place = placeOf(trial);
  if (place) { show(trial, ...place); pin(); }
};
/** Where axes or filters have changed, the trials are others; the one that was walked to stays where it is among them. */
const layWalk = () => {
  const before = onWalk[Number(walk.value)];
  onWalk = along();
  byId("walk-part").hidden = onWalk.length < 2;
  walk.max = Math.max(onWalk.length - 1, 0);
  walk.value = Math.max(onWalk.indexOf(before), 0);
  walked.textContent = before && onWalk.includes(before) ? saidOf(before) : "";
};
const makeWalk = () => {
  walk.addEventListener("input", takeStep);
  walk.addEventListener("blur", (event) => {
    // A press takes the focus to where it is, or, in some browsers and on plain text, nowhere.
    const used = [card, target].some((part) => part.matches(":active") || part.contains(event.relatedTarget));
    if (!used) hide(true);
  });
  layWalk();
  onChange(layWalk);
};
