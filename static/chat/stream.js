// Follows answers while they are written: each element with data-stream names the address of its events. The server
// sends the whole answer so far as safe HTML, so a lost connection loses nothing; here it is only put in place.
(() => {
  const announcer = document.getElementById("announcer");
  const page = document.documentElement;
  const sources = new Map(); // turn element id -> EventSource

  const isAtBottom = () => window.innerHeight + window.scrollY >= page.scrollHeight - 96;
  const toBottom = () => window.scrollTo({ top: page.scrollHeight });

  function announce(text) {
    const line = document.createElement("p");
    line.textContent = text;
    announcer.replaceChildren(line);
  }

  // Screen readers hear whole sentences, once each, not every repainting of the answer.
  function announcedUpTo(text, said) {
    const end = Math.max(...[". ", "! ", "? ", "\n"].map((mark) => text.lastIndexOf(mark))) + 1;
    if (end <= said) return said;
    announce(text.slice(said, end));
    return end;
  }

  function follow(turn) {
    if (sources.has(turn.id)) return;
    const source = new EventSource(turn.dataset.stream);
    const status = turn.querySelector("[data-status-text]");
    let said = 0;
    sources.set(turn.id, source);
    const leave = () => {
      source.close();
      sources.delete(turn.id);
    };

    source.addEventListener("open", () => {
      if (status.dataset.before) status.textContent = status.dataset.before;
    });
    source.addEventListener("answer", (event) => {
      if (!turn.isConnected) return leave();
      const stay = isAtBottom();
      const body = turn.querySelector("[data-body]");
      body.innerHTML = event.data;
      status.textContent = status.dataset.before = "Writing…";
      said = announcedUpTo(body.textContent, said);
      if (stay) toBottom();
    });
    source.addEventListener("done", (event) => {
      leave();
      if (!turn.isConnected) return;
      const stay = isAtBottom();
      const { id } = turn;
      htmx.swap(turn, event.data, { swapStyle: "outerHTML" });
      const finished = document.getElementById(id);
      const rest = finished.querySelector("[data-body]").textContent.slice(said);
      const ads = finished.querySelector(".ads h3")?.textContent ?? "";
      announce([rest, finished.querySelector("[data-status]")?.textContent ?? "", ads].join(" "));
      if (stay) toBottom();
    });
    source.addEventListener("error", () => {
      if (!turn.isConnected) return leave();
      if (source.readyState === EventSource.CLOSED) {
        leave();
        status.textContent = "The connection was lost. Reload the page to see the answer.";
        turn.querySelector("[data-status]").classList.add("status-bad");
      } else {
        status.textContent = "Connecting again…";
      }
    });
  }

  htmx.onLoad((root) => {
    const turns = [...root.querySelectorAll("[data-stream]")];
    if (root.matches("[data-stream]")) turns.unshift(root);
    turns.forEach(follow);
  });
  window.addEventListener("pagehide", () => {
    sources.forEach((source) => source.close());
    sources.clear();
  });
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) document.querySelectorAll("[data-stream]").forEach(follow);
  });
})();
