// What moves by itself on the page: copying a secret, parts that change, and the live view. Everything else works without scripts.
"use strict";
(() => {
  for (const button of document.querySelectorAll("[data-copy]")) {
    if (!navigator.clipboard) continue;
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
      button.textContent = "✓";
    });
  }

  const renews = ({ verb, path }) => verb === "get" && path.includes("renew=1");
  const stale = (is) => { for (const note of document.querySelectorAll("[data-stale]")) note.hidden = !is; };
  // A view that renews itself does not take the focus away: htmx gives it back to what has an id, and anything else is left in place. If it
  // is not renewed for this reason, or because the server cannot do it now, what was shown stays, a sentence says so, and the next try comes.
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { target, requestConfig, xhr } = event.detail;
    if (!renews(requestConfig)) return;
    const focused = document.activeElement;
    const kept = xhr.status >= 500 || xhr.status === 429 || (target.contains(focused) && !focused.id);
    stale(kept);
    if (kept) event.detail.shouldSwap = false;
  });
  document.addEventListener("htmx:sendError", (event) => { if (renews(event.detail.requestConfig)) stale(true); });
  // Of a part that changed, a screen reader is told its short sentences only.
  document.addEventListener("htmx:afterSwap", (event) => {
    const told = document.getElementById(event.detail.target.dataset.told);
    const sentences = [...event.detail.target.querySelectorAll("[data-tell]")];
    if (told) told.textContent = sentences.map((one) => one.textContent).join(" ");
  });

  const live = document.getElementById("live");
  if (!live) return;
  const MOST = 200;
  const state = document.getElementById("live-state");
  const rows = document.getElementById("live-rows");
  const pause = document.getElementById("live-pause");
  let held = [];
  let paused = false;
  const say = (text) => { if (state.textContent !== text) state.textContent = text; };
  // The rows come from the server's own templates, in which every text is escaped; the policy of the page runs no script in them.
  const show = (html) => {
    const piece = document.createElement("template");
    piece.innerHTML = html;
    rows.prepend(piece.content);
    while (rows.children.length > MOST) rows.lastElementChild.remove();
  };
  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? live.dataset.resume : live.dataset.pause;
    pause.setAttribute("aria-pressed", String(paused));
    if (!paused) { held.forEach(show); held = []; say(live.dataset.open); }
  });
  const stream = new EventSource(live.dataset.stream);
  stream.addEventListener("open", () => say(live.dataset.open));
  stream.addEventListener("error", () => say(stream.readyState === EventSource.CLOSED ? live.dataset.ended : live.dataset.lost));
  stream.addEventListener("missed", (event) => say(`${event.data} ${live.dataset.missed}`));
  stream.addEventListener("message", (event) => {
    if (!paused) return show(event.data);
    held.push(event.data);
    if (held.length > MOST) held.shift();
    say(`${live.dataset.held} ${held.length}`);
  });
})();
