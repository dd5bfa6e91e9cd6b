// Small help on the advertiser's page: the switch between advertisers, and Escape and focus in the bid's cell.

document.addEventListener("change", (event) => {
  const choice = event.target.closest("select[data-go]");
  if (choice) location.assign(choice.value);
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") event.target.closest(".bid-form")?.querySelector("[data-cancel]").click();
});

// After a swap the focus would be lost: to the amount while editing, back to the bid's button afterwards.
document.addEventListener("htmx:afterSwap", (event) => {
  const cell = document.getElementById(event.detail.target.id);
  if (!cell || !cell.id.startsWith("bid-")) return;
  const input = cell.querySelector("input[name=amount]");
  if (input) input.select();
  (input || cell.querySelector(".bid-button"))?.focus();
});
