// What every page needs: short notices that go away, forms that send themselves when a choice changes, honest failures.

const NOTICE_MS = 8000;
const toasts = document.getElementById("toasts");

function retire(note) {
  const timer = setTimeout(() => note.remove(), NOTICE_MS);
  note.addEventListener("pointerenter", () => clearTimeout(timer), { once: true });
  note.addEventListener("focusin", () => clearTimeout(timer), { once: true });
}

function notify(text) {
  const note = document.createElement("div");
  note.className = "toast-note";
  note.textContent = text;
  toasts.append(note);
}

new MutationObserver((changes) => {
  for (const change of changes) change.addedNodes.forEach((node) => node.nodeType === 1 && retire(node));
}).observe(toasts, { childList: true });

// What a notice offers (Undo) is done: the notice has said its piece.
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.successful) event.target.closest(".toast-note")?.remove();
});

document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-submit-on-change]");
  if (form) form.requestSubmit();
});

// A request that failed must say so: the page would otherwise look as if the person had not clicked.
document.addEventListener("htmx:responseError", (event) => {
  const status = event.detail.xhr.status;
  if (status === 429) notify("Too many requests. Please wait a moment and try again.");
  else if (status === 403) notify("You are not allowed to do this, or you were logged out. Please reload the page.");
  else if (status === 404) notify("This is no longer there. Please reload the page.");
  else notify("That did not work. Nothing was changed; please try again.");
});
document.addEventListener("htmx:sendError", () => notify("The site cannot be reached. Please check your connection."));
document.addEventListener("htmx:timeout", () => notify("The site took too long to answer. Please try again."));
