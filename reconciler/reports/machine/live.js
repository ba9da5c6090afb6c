// Keeps an open page as the machine is. The stream only names what changed; each changed part is fetched and put in the
// place of the old one, with what was open, focused or being selected left alone. Nothing is ever run or read as markup
// from a text: the browser parses the answer as a document of its own.
"use strict";
(() => {
  const live = document.getElementById("live");
  const news = document.getElementById("news");
  const waiting = new Map(); // by name: the digest that the server has
  let paused = false;
  let busy = false;
  let retry = 0;

  const say = (text, kind) => {
    if (live.textContent !== text) live.textContent = text;
    live.className = kind;
  };

  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Pause";
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", () => {
    paused = !paused;
    button.setAttribute("aria-pressed", String(paused));
    say(paused ? "Paused: what changes is not shown." : "Live", paused ? "" : "on");
    renew();
  });
  live.after(button);

  const local = (root) => {
    for (const one of root.querySelectorAll("time")) one.title = new Date(one.dateTime).toLocaleString();
  };

  const isRead = (part) => {
    const chosen = document.getSelection();
    return chosen && !chosen.isCollapsed && part.contains(chosen.anchorNode);
  };

  const states = (part) =>
    new Map([...part.querySelectorAll("[data-variant]")].map((one) => [one.dataset.variant, one.dataset.state]));

  // Figures of progress are not news: a screen reader would be told each second.
  const tell = (before, after) => {
    const word = (text) => (text || "").replace(/ \d+ %$/, "");
    const told = [...after].filter(([name, state]) => word(before.get(name)) !== word(state));
    if (told.length > 3) news.textContent = `${told.length} variants changed`;
    else if (told.length) news.textContent = told.map(([name, state]) => `${name}: ${word(state)}`).join("; ");
  };

  const put = (part, fresh) => {
    for (const one of part.querySelectorAll("details[open]")) {
      const same = one.id && fresh.querySelector(`#${CSS.escape(one.id)}`);
      if (same) same.open = true;
    }
    const place = [...part.querySelectorAll(".scroll, pre")].map((one) => [one.scrollTop, one.scrollLeft]);
    const held = part.contains(document.activeElement) ? way(part, document.activeElement) : null;
    if (part.id === "models") tell(states(part), states(fresh));
    const made = document.adoptNode(fresh);
    part.replaceWith(made);
    local(made);
    [...made.querySelectorAll(".scroll, pre")].forEach((one, n) => {
      if (place[n]) [one.scrollTop, one.scrollLeft] = place[n];
    });
    if (held) back(made, held)?.focus({ preventScroll: true });
  };

  const FOCUSABLE = "a, button, summary, [tabindex]";
  const way = (part, element) => {
    const around = element.closest("[id]");
    const inside = around && part.contains(around) ? around : part;
    return [inside === part ? "" : inside.id, [...inside.querySelectorAll(FOCUSABLE)].indexOf(element)];
  };
  const back = (part, [id, number]) => {
    const inside = id ? part.querySelector(`#${CSS.escape(id)}`) : part;
    return inside && (number < 0 ? inside : inside.querySelectorAll(FOCUSABLE)[number]);
  };

  const renew = () => {
    if (paused || busy) return;
    for (const [name, digest] of waiting) {
      const part = document.getElementById(name);
      if (!part || part.dataset.live === digest) waiting.delete(name);
      else if (!isRead(part)) return fetchPart(name, part);
    }
  };

  const fetchPart = (name, part) => {
    busy = true;
    const request = new XMLHttpRequest();
    request.open("GET", `/page/parts/${name}`);
    request.responseType = "document";
    request.timeout = 10000;
    request.onloadend = () => {
      busy = false;
      const fresh = request.status === 200 && request.response && request.response.getElementById(name);
      waiting.delete(name);
      if (fresh) put(part, fresh);
      renew();
    };
    request.send();
  };

  const listen = () => {
    const stream = new EventSource("/page/stream");
    stream.onopen = () => {
      retry = 0;
      if (!paused) say("Live", "on");
    };
    stream.onmessage = (message) => {
      for (const [name, digest] of Object.entries(JSON.parse(message.data))) waiting.set(name, digest);
      renew();
    };
    stream.onerror = () => {
      if (!paused) say("Not connected: what is shown may be old. Trying again.", "off");
      if (stream.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
      retry = Math.min(retry + 1, 6);
      setTimeout(listen, 5000 * retry);
    };
  };

  document.addEventListener("selectionchange", () => waiting.size && renew());
  local(document);
  listen();
})();
