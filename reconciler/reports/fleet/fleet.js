"use strict";
// The list of machines: search, filters and a list that holds only the rows in sight. Nothing is asked of anybody, and
// text is only ever put in as text.
(() => {
  const held = JSON.parse(document.getElementById("data").textContent);
  const texts = held.texts;
  const byId = (id) => document.getElementById(id);
  const NAME = 0, GROUP = 1, RING = 2, SEEN = 3, AGE = 4, STANDING = 5, WHY = 6, COMMIT = 7, BEHIND = 8, COMPARE = 9,
    STATE = 10, REASON = 11, MESSAGE = 12, DISK = 13, RUNTIME = 14, VERSION = 15, IMPORTED = 16, LABELS = 17,
    VARIANTS = 18, LEFT_OUT = 19, CONDITIONS = 20;
  const V = { variant: 0, model: 1, id: 2, serves: 3, wanted: 4, since: 5, ready: 6, reason: 7, message: 8, refused: 9 };
  const WORDS = { ready: ["Ready", "good"], notReady: ["Not ready", "bad"], silent: ["Silent", "wait"],
    working: ["At work", "busy"], doubted: ["Doubted", "held"], empty: ["No model", "quiet"] };
  const OVER = 8; // rows beyond what is in sight

  const machines = held.machines;
  const text = (row, field) => texts[row[field]];
  const rings = machines.some((row) => text(row, RING));

  const make = (name, kind, content) => {
    const found = document.createElement(name);
    if (kind) found.className = kind;
    if (content !== undefined) found.append(content);
    return found;
  };
  const state = (row) => {
    const [known, tone] = WORDS[text(row, STATE)];
    const word = known === "At work" && text(row, REASON).startsWith("Awaiting") ? "Waiting" : known;
    const found = make("span", `state ${tone}`), inner = make("span", "cut", word);
    if (text(row, REASON)) inner.append(`: ${text(row, REASON)}`);
    found.append(inner);
    return found;
  };
  const ago = (seconds) => {
    if (seconds === null) return "unknown";
    if (seconds < 0) return "in the future";
    for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
      if (seconds >= size) return `${Math.floor(seconds / size)} ${unit} ago`;
    }
    return "just now";
  };
  const size = (bytes) => {
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let at = 0;
    while (bytes >= 1024 && at < units.length - 1) { bytes /= 1024; at += 1; }
    return `${bytes >= 10 || at === 0 ? Math.round(bytes) : bytes.toFixed(1)} ${units[at]}`;
  };
  const serving = (row) => {
    const ids = row[VARIANTS].map((one) => texts[one[V.id]]).filter(Boolean);
    if (!ids.length) return "nothing";
    return ids.length > 2 ? `${ids[0]} and ${ids.length - 1} more` : ids.join(", ");
  };
  const commit = (row) => {
    const name = text(row, COMMIT);
    if (!name) return "none";
    if (row[BEHIND] < 0) return held.head ? `${name.slice(0, 9)}, not found` : name.slice(0, 9);
    return row[BEHIND] ? `${name.slice(0, 9)}, ${row[BEHIND]} behind` : `${name.slice(0, 9)}, newest`;
  };
  const COLUMNS = [
    ["Machine", (row) => text(row, NAME)],
    ...(rings ? [["Ring", (row) => text(row, RING) || "-"]] : []),
    ["State", state],
    ["Serves", serving],
    [held.groupBy || "Group", (row) => text(row, GROUP)],
    ["Last seen", (row) => ago(row[AGE])],
    ["Commit", commit],
    ["Disk free", (row) => size(row[DISK])],
    ["Runtime", (row) => text(row, RUNTIME).split(", ").map((one) => one.replace(/^.* /, "")).join(", ") || "-"],
  ];

  // What a search looks into, made once for each machine.
  const haystacks = new Array(machines.length);
  const haystack = (at) => {
    if (haystacks[at] === undefined) {
      const row = machines[at];
      const parts = [NAME, GROUP, RING, COMMIT, REASON, MESSAGE, STANDING, RUNTIME].map((field) => text(row, field));
      for (const [key, value] of row[LABELS]) parts.push(`${texts[key]}=${texts[value]}`);
      for (const one of row[VARIANTS]) {
        for (const field of [V.variant, V.id, V.serves, V.reason, V.message]) parts.push(texts[one[field]]);
      }
      haystacks[at] = parts.join("\n").toLowerCase();
    }
    return haystacks[at];
  };

  const fields = ["q", "state", "model", "group", "ring", "order"].map(byId).filter(Boolean);
  const options = (id, names) => {
    const select = byId(id);
    for (const name of select ? new Set(names) : []) {
      const one = make("option", "", name);
      one.value = name;
      select.append(one);
    }
  };
  options("model", machines.flatMap((row) => row[VARIANTS].map((one) => texts[one[V.model]])).sort());
  options("group", machines.map((row) => text(row, GROUP)).sort(new Intl.Collator("en", { numeric: true }).compare));
  const ringsOf = (row) => text(row, RING).split(", ").filter(Boolean);
  const inOrder = [...document.querySelectorAll("#rollouts th > a")].map((one) => new URLSearchParams(one.dataset.filter).get("ring"));
  options("ring", [...inOrder, ...machines.flatMap(ringsOf)]);

  const natural = new Intl.Collator("en", { numeric: true }).compare; // edge-11 before edge-100
  const ORDERS = {
    worst: null,
    name: (a, b) => natural(text(a, NAME), text(b, NAME)),
    seen: (a, b) => (b[AGE] === null ? Infinity : b[AGE]) - (a[AGE] === null ? Infinity : a[AGE]),
    behind: (a, b) => b[BEHIND] - a[BEHIND],
    disk: (a, b) => a[DISK] - b[DISK],
  };
  const value = (id) => (byId(id) ? byId(id).value : "");
  const fits = (at) => {
    const row = machines[at], kind = value("state"), model = value("model"), group = value("group");
    if (kind === "behind" ? row[BEHIND] <= 0 : kind && text(row, STATE) !== kind) return false;
    if (group && text(row, GROUP) !== group) return false;
    if (value("ring") && !ringsOf(row).includes(value("ring"))) return false;
    if (model && !row[VARIANTS].some((one) => texts[one[V.model]] === model)) return false;
    return words.every((word) => haystack(at).includes(word));
  };

  let words = [], shown = [], current = 0, selected = -1;
  const grid = byId("grid"), body = byId("body"), tall = byId("tall"), detail = byId("detail");
  if (rings) grid.classList.add("with-ring");
  for (const [name] of COLUMNS) {
    const head = make("span", "", name);
    head.setAttribute("role", "columnheader");
    byId("heads").append(head);
  }
  grid.setAttribute("aria-colcount", String(COLUMNS.length));

  const lines = new Map(); // those in the page, by their place in `shown`
  let height = 44;
  const measure = () => {
    const probe = make("div", "line");
    body.append(probe);
    height = probe.getBoundingClientRect().height || 44;
    probe.remove();
  };
  const line = (place) => {
    const row = machines[shown[place]];
    const found = make("div", "line");
    found.setAttribute("role", "row");
    found.setAttribute("aria-rowindex", String(place + 2));
    found.setAttribute("aria-selected", String(shown[place] === selected));
    found.tabIndex = place === current ? 0 : -1;
    found.dataset.place = String(place);
    found.style.top = `${place * height}px`;
    for (const [name, show] of COLUMNS) {
      const cell = make("span", "", show(row));
      cell.setAttribute("role", "gridcell");
      cell.dataset.column = name.toLowerCase().replace(" ", "-");
      if (name !== "Machine" && name !== "State") cell.dataset.label = name;
      if (typeof show(row) === "string") cell.title = show(row);
      found.append(cell);
    }
    return found;
  };
  const draw = () => {
    const first = Math.max(Math.floor(body.scrollTop / height) - OVER, 0);
    const last = Math.min(Math.ceil((body.scrollTop + body.clientHeight) / height) + OVER, shown.length);
    const wanted = (place) => (place >= first && place < last) || place === current;
    for (const [place, one] of lines) {
      if (!wanted(place)) { one.remove(); lines.delete(place); }
    }
    for (let place = first; place < last; place += 1) add(place);
    if (current < shown.length) add(current);
  };
  const add = (place) => {
    if (lines.has(place)) return;
    const made = line(place);
    let after = null; // in the order of the list, for those who read it in the page's order
    for (const [other, one] of lines) {
      if (other > place && (after === null || other < Number(after.dataset.place))) after = one;
    }
    body.insertBefore(made, after);
    lines.set(place, made);
  };
  const redraw = () => {
    for (const one of lines.values()) one.remove();
    lines.clear();
    tall.style.height = `${shown.length * height}px`;
    draw();
  };
  // The machine whose whole name is searched for, -1 for none: it comes before those whose names only begin so.
  const named = () => {
    const name = value("q").trim();
    return name ? machines.findIndex((row, at) => text(row, NAME) === name && fits(at)) : -1;
  };
  const filter = () => {
    words = value("q").toLowerCase().split(/\s+/).filter(Boolean);
    shown = [...machines.keys()].filter(fits);
    const order = ORDERS[value("order")];
    if (order) shown.sort((a, b) => order(machines[a], machines[b]));
    const exact = named();
    if (exact >= 0) shown = [exact, ...shown.filter((at) => at !== exact)];
    current = 0;
    body.scrollTop = 0;
    grid.setAttribute("aria-rowcount", String(shown.length + 1));
    const all = machines.length.toLocaleString("en");
    byId("count").textContent = shown.length === machines.length ? `${all} machines`
      : `${shown.length.toLocaleString("en")} of ${all} machines`;
    const old = body.querySelector(".nothing");
    if (old) old.remove();
    if (!shown.length) body.append(make("p", "nothing", "No machine fits. Clear the filters to see all."));
    redraw();
  };

  const go = (place) => {
    if (!shown.length) return;
    const old = lines.get(current);
    if (old) old.tabIndex = -1;
    current = Math.min(Math.max(place, 0), shown.length - 1);
    const top = current * height;
    if (top < body.scrollTop) body.scrollTop = top;
    else if (top + height > body.scrollTop + body.clientHeight) body.scrollTop = top + height - body.clientHeight;
    draw();
    const line = lines.get(current);
    line.tabIndex = 0;
    line.focus({ preventScroll: true });
  };
  body.addEventListener("scroll", () => requestAnimationFrame(draw), { passive: true });
  body.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const page = Math.max(Math.floor(body.clientHeight / height) - 1, 1);
    const steps = { ArrowDown: current + 1, ArrowUp: current - 1, PageDown: current + page, PageUp: current - page,
      Home: 0, End: shown.length - 1 };
    if (event.key in steps) { event.preventDefault(); go(steps[event.key]); }
    else if (event.key === "Enter" || event.key === " ") { event.preventDefault(); show(shown[current], true); }
  });
  body.addEventListener("click", (event) => {
    const found = event.target.closest(".line");
    if (found) { go(Number(found.dataset.place)); show(shown[current], false); }
  });

  const table = (caption, heads, rows) => {
    const found = make("table", "stacks"), head = make("tr"), top = make("thead"), inner = make("tbody");
    found.setAttribute("role", "table");
    found.append(make("caption", "unseen", caption));
    for (const name of heads) {
      const cell = make("th", "", name);
      cell.scope = "col";
      head.append(cell);
    }
    top.append(head);
    for (const cells of rows) {
      const row = make("tr");
      cells.forEach((held, at) => {
        const cell = make(at ? "td" : "th", "", held);
        if (at) cell.dataset.label = heads[at]; else cell.scope = "row";
        row.append(cell);
      });
      inner.append(row);
    }
    found.append(top, inner);
    return found;
  };
  const short = (digest) => {
    const found = make("code", "", digest ? digest.slice(0, 19) : "-");
    if (digest) found.title = digest;
    return found;
  };
  const fact = (name, content) => {
    const found = make("div");
    found.append(make("dt", "", name), make("dd", "", content));
    return found;
  };
  const link = (where, what) => {
    const found = make("a", "", what);
    if (where.startsWith("https://")) found.href = where;
    return found;
  };
  const PLAIN = /^[A-Za-z0-9][\w.-]*$/; // a name that a shell takes as it is
  const command = (what, typed) => {
    const found = make("p", "command", make("span", "", what));
    found.append(" ", make("code", "", typed));
    return found;
  };
  const variantState = (one) => {
    const reason = texts[one[V.reason]];
    if (one[V.ready]) return make("span", "state good", "Ready");
    const tone = /^(Awaiting.*|Converting|Fetching|Measuring|Pulling|Taking)$/.test(reason) ? "busy" : "bad";
    if (tone === "busy") return make("span", "state busy", reason.startsWith("Awaiting") ? `Waiting: ${reason}` : `At work: ${reason}`);
    return make("span", `state ${tone}`, reason ? `Not ready: ${reason}` : "Not ready");
  };
  const show = (at, focused) => {
    selected = at;
    for (const [place, one] of lines) one.setAttribute("aria-selected", String(shown[place] === at));
    const row = machines[at], name = text(row, NAME);
    const title = make("h3", "", name);
    title.id = "detail-title";
    const facts = make("dl", "facts");
    facts.append(fact("State", state(row)), fact("Report", text(row, WHY) ? `${text(row, STANDING)}: ${text(row, WHY)}` : text(row, STANDING)),
      fact("Last seen", `${ago(row[AGE])} (${text(row, SEEN)})`), fact("Commit", text(row, COMPARE) ? link(text(row, COMPARE), commit(row)) : commit(row)),
      fact("Disk free", size(row[DISK])), fact("Runtime", text(row, RUNTIME) || "-"), fact("reconciler", text(row, VERSION)));
    if (text(row, RING)) facts.append(fact("Ring", text(row, RING)));
    if (text(row, IMPORTED)) facts.append(fact("Imported", text(row, IMPORTED)));
    if (row[LEFT_OUT].length) facts.append(fact("Left out", row[LEFT_OUT].map((one) => texts[one]).join(", ")));
    const labels = make("ul", "labels");
    labels.setAttribute("aria-label", "Labels");
    for (const [key, held] of row[LABELS]) {
      const item = make("li");
      item.append(make("code", "", `${texts[key]}=${texts[held]}`));
      labels.append(item);
    }
    const parts = [title, facts, labels];
    if (text(row, MESSAGE)) parts.splice(1, 0, make("p", `note ${WORDS[text(row, STATE)][1]}`, text(row, MESSAGE)));
    for (const [kind, reason, message] of row[CONDITIONS]) {
      parts.push(make("p", "note wait", `${texts[kind]}: ${texts[reason]}. ${texts[message]}`));
    }
    if (row[VARIANTS].length) {
      const rows = row[VARIANTS].map((one) => [texts[one[V.variant]], variantState(one), texts[one[V.id]] || "nothing",
        short(texts[one[V.serves]]), short(texts[one[V.wanted]]), texts[one[V.message]] || "-"]);
      parts.push(table(`Variants of ${name}`, ["Variant", "State", "Serves", "Release", "Wanted", "Message"], rows));
    }
    const refused = row[VARIANTS].flatMap((one) => one[V.refused].map(([release, outcome, why]) =>
      [texts[one[V.variant]], short(texts[release]), texts[outcome], texts[why]]));
    for (const one of row[VARIANTS]) {
      const known = held.reasons[texts[one[V.reason]]];
      if (known && !one[V.ready]) parts.push(make("p", "quiet-text", `${texts[one[V.reason]]}: ${known[0]}.`));
      const waits = /^Awaiting/.test(texts[one[V.reason]]);
      const typed = PLAIN.test(texts[one[V.variant]]) && known && !one[V.ready] && !waits;
      if (typed) parts.push(command(`on ${name}, more about it`, `reconciler explain ${texts[one[V.variant]]}`));
      if (typed && known[1]) parts.push(command(`on ${name}, once mended`, `reconciler ${known[1]} ${texts[one[V.variant]]}`));
    }
    if (PLAIN.test(name)) parts.push(command("its page, at http://127.0.0.1:9464/", `ssh -L 9464:127.0.0.1:9464 ${name}`));
    if (refused.length) parts.push(make("h4", "", "Refused releases"), table("Refused releases", ["Variant", "Release", "Outcome", "Why"], refused));
    const back = make("button", "", "Back to the list");
    back.type = "button";
    back.addEventListener("click", () => { detail.hidden = true; go(current); });
    parts.push(back);
    detail.replaceChildren(...parts);
    detail.hidden = false;
    if (focused) detail.focus();
    detail.scrollIntoView({ block: "nearest" });
  };

  // Filters stand in the address, so a view can be sent to somebody.
  const read = () => {
    const hash = location.hash.slice(1);
    if (!hash.includes("=")) return false;
    const given = new URLSearchParams(hash);
    for (const one of fields) {
      const held = given.get(one.id);
      one.value = held === null ? (one.id === "order" ? "worst" : "") : held;
      if (one.selectedIndex === -1) one.selectedIndex = 0;
    }
    return true;
  };
  const write = () => {
    const given = new URLSearchParams();
    for (const one of fields) if (one.value && one.value !== "worst") given.set(one.id, one.value);
    history.replaceState(null, "", `#${given.size ? given : "machines"}`);
  };
  document.addEventListener("click", (event) => {
    const found = event.target.closest("[data-filter]");
    if (!found) return;
    event.preventDefault();
    history.replaceState(null, "", `#${found.dataset.filter}`);
    read();
    filter();
    byId("machines").scrollIntoView();
    byId("q").focus({ preventScroll: true });
    if (named() >= 0) show(named(), true);
  });
  let waiting = 0;
  byId("filters").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { filter(); write(); }, 60);
  });
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filters").addEventListener("reset", () => setTimeout(() => { filter(); write(); }, 0));
  addEventListener("hashchange", () => { if (read()) { filter(); byId("machines").scrollIntoView(); if (named() >= 0) show(named(), true); } });
  addEventListener("resize", () => { measure(); redraw(); });
  measure();
  read();
  filter();
  if (named() >= 0) show(named(), false);
})();
