// The text box and the small controls around answers. Everything here also works, less smoothly, without this script.
(() => {
  document.documentElement.classList.add("has-script");
  const composer = document.getElementById("composer");
  const query = document.getElementById("query");
  const counter = document.getElementById("counter");
  const limit = Number(query.dataset.limit);
  const streaming = () => [...document.querySelectorAll("[data-stream]")].at(-1);

  // --- the text box ---

  function count() {
    const length = [...query.value].length; // characters as the server counts them
    counter.hidden = length < limit * 0.9;
    counter.textContent = `${length.toLocaleString("en")} of ${limit.toLocaleString("en")} characters`;
    counter.classList.toggle("is-over", length > limit);
  }

  query.addEventListener("input", count);
  query.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (query.value.trim() && !streaming()) composer.requestSubmit();
  });
  composer.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.elt !== composer || !event.detail.successful || event.detail.xhr.status >= 400) return;
    query.value = "";
    count();
    query.focus();
    const turn = document.querySelector(".turn:last-child");
    turn?.scrollIntoView({ block: "start" });
  });
  // Refusals come with 422, 429 or 503 and a fragment that says why: show it where the question stands.
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (!event.detail.xhr.getResponseHeader("HX-Retarget")) return;
    event.detail.shouldSwap = true;
    event.detail.isError = false;
  });
  query.addEventListener("input", () => document.getElementById("refusal").replaceChildren());
  count();
  if (matchMedia("(pointer: fine)").matches) query.focus({ preventScroll: true }); // no keyboard over a phone's page

  // --- stop ---

  const stop = () => streaming()?.querySelector("[data-stop-form]").requestSubmit();
  composer.querySelector("[data-stop]").addEventListener("click", (event) => {
    stop();
    event.currentTarget.blur();
    query.focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !event.defaultPrevented && !document.querySelector(":popover-open")) stop();
  });

  // --- copy ---

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const label = button.querySelector("[data-copy-text]");
    try {
      await navigator.clipboard.writeText(button.closest(".turn").querySelector("[data-body]").innerText.trim());
      label.textContent = "Copied";
    } catch {
      label.textContent = "Copying is not allowed here";
    }
    setTimeout(() => (label.textContent = "Copy"), 2000);
  });

  // --- a panel that was opened before htmx listened: it tells once more ---

  htmx.onLoad((root) => {
    root.querySelectorAll("details[hx-trigger][open]").forEach((panel) => htmx.trigger(panel, "toggle"));
  });

  // --- where the focus goes when what held it is replaced ---

  document.addEventListener("htmx:afterSettle", (event) => {
    const { elt: fresh, requestConfig: request } = event.detail;
    if (document.activeElement !== document.body || !request) return;
    if (fresh.id.startsWith("profile-")) return document.getElementById("profile-button").focus();
    const turn = fresh.closest?.(".turn");
    const wanted = [`a[data-step="${request.elt.dataset.step}"]`, ".siblings a"];
    if (request.path.endsWith("/hide/")) wanted.unshift(".hidden-ad button");
    const next = wanted.map((selector) => turn?.querySelector(selector)).find(Boolean) ?? query;
    next.focus({ preventScroll: true });
  });
})();
