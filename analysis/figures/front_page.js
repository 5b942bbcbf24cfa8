"use strict";
// Draws the review of one sweep from the JSON in #review: see front_html.py for its fields.
(async () => {
  const review = JSON.parse(document.getElementById("review").textContent);
  const byId = (id) => document.getElementById(id);

  // MLflow shows an HTML artifact in an iframe that is sandboxed to scripts only: its address is a blob of
  // MLflow's own origin, and neither window.open nor window.top nor a plain click on a link gets out of it.
  // The browser still lets a person's Ctrl-click or middle click on a link open a new tab, so every point
  // becomes a real link while the pointer is on it.
  const blobOrigin = (location.href.match(/^blob:(https?:\/\/[^/]+)/) || [])[1];
  const boxed = blobOrigin !== undefined;
  const sameOrigin = (url) => { try { return new URL(url).origin === blobOrigin; } catch { return false; } };
  const base = (boxed && !sameOrigin(review.base_url) ? blobOrigin : review.base_url).replace(/\/+$/, "");
  const runUrl = (run) =>
    base + review.run_url.replace("{experiment}", review.experiment_id).replace("{run}", run);
  const openHint = boxed
    ? "Ctrl-click (⌘-click) or middle-click a point, or a number in the table, to open its run in a new tab."
    : "Click a point to open its run in MLflow.";
  byId("how").textContent = openHint;
  for (const link of document.querySelectorAll("a[data-run]")) link.href = runUrl(link.dataset.run);

  const CARD_ROWS = 8;  // more constraints than this would not fit beside a point; all are in trials.csv

  // ---- the card that shows one trial -------------------------------------------------------------------
  const figure = byId("figure"), card = byId("card"), target = byId("target");
  const element = (tag, text, cls) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (cls) made.className = cls;
    return made;
  };
  const number = (value) => (value === null || value === undefined ? "—" : String(Number(value.toPrecision(4))));
  const rows = (head, lines) => {
    const table = element("table");
    if (head.length) {
      const top = table.insertRow();
      head.forEach((name, i) => top.append(element("th", name, i ? "num" : "")));
    }
    for (const line of lines) {
      const row = table.insertRow();
      line.forEach((cell, i) => row.append(element("td", cell, i ? "num" : "")));
    }
    return table;
  };
  const fillCard = (trial) => {
    card.replaceChildren();
    const close = element("button", "×", "close");
    close.title = "close";
    close.onclick = () => hide(true);
    card.append(close);
    card.append(element("div", `Trial ${trial.id} · ${trial.status} · ${review.kinds[trial.kind]}`, "head"));
    const why = trial.doubt || trial.reason;
    if (why) card.append(element("div", why, "note"));
    const plain = Object.entries(trial.params).concat(
      review.objectives.map((name) => [name, number(columns.get(name).values[trial.index])]));
    card.append(rows([], plain));
    if (trial.constraints.length) {
      const worstFirst = [...trial.constraints].sort((a, b) => (a.room ?? -Infinity) - (b.room ?? -Infinity));
      card.append(rows(["constraint", "value", "budget", "slack ± s.e.", "λ"], worstFirst.slice(0, CARD_ROWS).map((c) => [
        c.name, number(c.value), `${c.relation} ${number(c.budget)}`,
        number(c.slack) + (c.slack_error === null ? "" : ` ± ${Number(c.slack_error.toPrecision(2))}`),
        number(c.multiplier)])));
      const more = worstFirst.length - CARD_ROWS;
      if (more > 0) card.append(element("div", `and ${more} constraints with more slack`, "note"));
    }
    const hint = element("div", undefined, "hint");
    const link = element("a", "Open the run");
    link.href = runUrl(trial.run);
    link.target = "_blank";
    link.rel = "noopener";
    hint.append(link, boxed ? " with Ctrl-click (⌘-click) or a middle click: MLflow's viewer blocks plain ones." : " in MLflow.");
    card.append(hint);
  };
  let pinned = false, shown = null;
  const hide = (force) => {
    if (pinned && !force) return;
    pinned = false;
    card.classList.remove("pinned");
    card.style.display = target.style.display = "none";
  };
  const pin = () => { pinned = true; card.classList.add("pinned"); };
  const show = (trial, x, y) => {
    if (pinned) return;
    if (shown !== trial) fillCard(trial);
    shown = trial;
    target.href = runUrl(trial.run);
    target.title = "";
    Object.assign(target.style, { display: "block", left: `${x}px`, top: `${y}px` });
    card.style.display = "block";
    const width = figure.clientWidth, height = figure.clientHeight;
    // Beside the point where there is room, else below it: the point stays in sight.
    const wide = card.offsetWidth + 16, right = x + wide <= width, beside = right || x >= wide;
    const left = right ? x + 16 : Math.max(0, Math.min(x - wide, width - card.offsetWidth));
    const top = beside ? Math.max(0, Math.min(y - 20, height - card.offsetHeight)) : y + 18;
    Object.assign(card.style, { left: `${left}px`, top: `${top}px` });
  };
  target.addEventListener("mouseleave", () => hide(false));
  target.addEventListener("click", (event) => {
    if (!boxed || event.ctrlKey || event.metaKey || event.shiftKey) return;  // the browser opens the link
    event.preventDefault();
    pin();
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(true); });

  // ---- the figure --------------------------------------------------------------------------------------
  const columns = new Map(review.columns.map((column) => [column.key, column]));
  review.trials.forEach((trial, index) => { trial.index = index; });
  const axis = (key) => ({
    title: { text: columns.get(key).label, standoff: 8 }, range: columns.get(key).range || undefined,
    zeroline: /slack/.test(key), zerolinecolor: "#8a8f98", gridcolor: "#e8ebef", linecolor: "#9aa3af", showline: true,
    ticks: "outside", tickcolor: "#9aa3af", automargin: true,
  });
  const errors = (key, picked) => {
    const name = (key.match(/^(?:value|slack)\/(.*)$/) || [])[1];
    if (name === undefined) return undefined;
    const array = picked.map((trial) => {
      const outcome = trial.constraints.find((other) => other.name === name);
      return outcome && outcome.slack_error !== null ? outcome.slack_error : 0;
    });
    return { type: "data", array, thickness: 1, width: 3, color: review.marks.front.colour };
  };
  const points = (kind, x, y) => {
    const mark = review.marks[kind];
    const at = (key, trial) => columns.get(key).values[trial.index];
    const picked = review.trials.filter((t) => t.kind === kind && at(x, t) !== null && at(y, t) !== null);
    return {
      type: "scatter", mode: "markers", name: `${mark.name} (${picked.length})`, customdata: picked.map((t) => t.index),
      x: picked.map((t) => at(x, t)), y: picked.map((t) => at(y, t)), hoverinfo: "none",
      error_x: kind === "front" ? errors(x, picked) : undefined, error_y: kind === "front" ? errors(y, picked) : undefined,
      marker: { color: mark.colour, symbol: mark.symbol, size: mark.size, line: { width: mark.filled ? 1 : 1.6,
        color: mark.filled ? "#ffffff" : mark.colour } },
    };
  };
  // The set of what is attained is bounded by steps, never by straight lines between trials.
  const steps = (x, y) => {
    const two = review.objectives.length === 2 && new Set([x, y, ...review.objectives]).size === 2 && x !== y;
    if (!two) return [];
    const front = review.trials.filter((t) => t.kind === "front");
    const sorted = front.map((t) => [columns.get(x).values[t.index], columns.get(y).values[t.index]]).sort((a, b) => a[0] - b[0]);
    return [{
      type: "scatter", mode: "lines", name: "front", showlegend: false, hoverinfo: "skip",
      x: sorted.map((p) => p[0]), y: sorted.map((p) => p[1]),
      line: { color: review.marks.front.colour, width: 1.8, shape: review.directions[x] === "minimize" ? "hv" : "vh" },
    }];
  };
  const outOfView = (trace, x, y) => trace.x.filter((value, i) => {
    const out = (range, v) => range && (v < range[0] || v > range[1]);
    return out(columns.get(x).range, value) || out(columns.get(y).range, trace.y[i]);
  }).length;
  const draw = () => {
    hide(true);
    const x = byId("x-axis").value, y = byId("y-axis").value;
    const kinds = Object.keys(review.marks).map((kind) => points(kind, x, y)).filter((trace) => trace.x.length);
    const drawn = kinds.reduce((sum, trace) => sum + trace.x.length, 0);
    const far = kinds.reduce((sum, trace) => sum + outOfView(trace, x, y), 0);
    const missing = review.trials.length - drawn;
    byId("drawn").textContent = [
      missing ? `${missing} of ${review.trials.length} trials have no finite value on these axes.` : "",
      far ? `${far} far-off ${far === 1 ? "point is" : "points are"} out of view: double-click shows all.` : "",
    ].filter(Boolean).join(" ");
    return Plotly.react("plot", [...steps(x, y), ...kinds], {
      margin: { l: 64, r: 16, t: 30, b: 56 }, hovermode: "closest", hoverdistance: 12, dragmode: "zoom",
      xaxis: axis(x), yaxis: axis(y), paper_bgcolor: "#fff", plot_bgcolor: "#fff",
      font: { family: "system-ui, Segoe UI, Roboto, Arial, sans-serif", size: 13, color: "#1c2430" },
      // Below, since the tools stand above, which a narrow viewer has no room beside.
      legend: { orientation: "h", x: 0, y: -0.17, yanchor: "top", font: { size: 12 }, traceorder: "reversed" },
    }, { responsive: true, displaylogo: false, modeBarButtons: [["toImage"], ["zoom2d", "pan2d"], ["autoScale2d", "resetScale2d"]], doubleClick: "autosize" });
  };
  const fillMenu = (menu, chosen) => {
    for (const group of new Set(review.columns.map((column) => column.group))) {
      const made = document.createElement("optgroup");
      made.label = group;
      for (const column of review.columns.filter((other) => other.group === group)) {
        const option = new Option(column.label, column.key, false, column.key === chosen);
        made.append(option);
      }
      menu.append(made);
    }
    menu.addEventListener("change", draw);
  };
  const drawHistory = () => {
    if (review.history.length < 2) { byId("history-part").remove(); return undefined; }
    return Plotly.react("history", [{
      type: "scatter", mode: "lines", line: { shape: "hv", width: 1.8, color: review.marks.front.colour },
      x: review.history.map((_, i) => i + 1), y: review.history, customdata: review.trials.map((t) => t.id),
      hovertemplate: "after trial %{customdata}: %{y:.4g}<extra></extra>",
    }], {
      margin: { l: 64, r: 16, t: 8, b: 44 }, font: { size: 12.5, color: "#1c2430" },
      xaxis: { ...axis("trial number"), range: undefined, title: { text: "trials" } },
      yaxis: { title: { text: "hypervolume" }, gridcolor: "#e8ebef", rangemode: "tozero", automargin: true },
    }, { responsive: true, displayModeBar: false });
  };

  // plotly.js is embedded compressed, which makes the page less than half as large.
  const load = async () => {
    const packed = Uint8Array.from(atob(byId("plotly").textContent.trim()), (char) => char.charCodeAt(0));
    const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(unpacked).text();
    document.head.append(script);
  };
  try {
    await load();
    fillMenu(byId("x-axis"), review.axes[0]);
    fillMenu(byId("y-axis"), review.axes[1]);
    await draw();
    await drawHistory();
    const plot = byId("plot");
    plot.on("plotly_hover", (event) => {
      const point = event.points.find((other) => other.customdata !== undefined);
      if (!point) return;
      const { xaxis, yaxis } = point;
      show(review.trials[point.customdata], xaxis._offset + xaxis.d2p(point.x), yaxis._offset + yaxis.d2p(point.y));
    });
    plot.on("plotly_unhover", () => { if (!target.matches(":hover")) hide(false); });
    plot.on("plotly_relayout", () => hide(true));
    byId("loading").remove();
    document.body.dataset.ready = "yes";
  } catch (error) {
    byId("loading").textContent = `The figure could not be drawn: ${error}. The table below is complete.`;
    byId("loading").className = "error";
    document.body.dataset.ready = "failed";
  }
})();
