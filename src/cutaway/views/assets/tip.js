// One panel for the whole page: it shows the data-tip of what is pointed at, focused or tapped.
(() => {
  "use strict";
  if (document.querySelector(".ct-tip")) return;
  const panel = document.createElement("div");
  panel.className = "ct-tip";
  panel.setAttribute("role", "status");
  panel.hidden = true;
  (document.body.closest(".cutaway") ? document.body : document.querySelector(".cutaway")).append(panel);

  const GAP = 8;
  let shown = null;

  function place(element) {
    const box = element.getBoundingClientRect();
    const size = panel.getBoundingClientRect();
    const above = box.top - size.height - GAP;
    const top = above > GAP ? above : box.bottom + GAP;
    // A wide element, such as a whole row, keeps its panel near its left end.
    const middle = box.left + Math.min(box.width, 280) / 2 - size.width / 2;
    const right = document.documentElement.clientWidth - size.width - GAP;
    panel.style.transform = `translate(${Math.max(GAP, Math.min(middle, right))}px, ${top}px)`;
  }

  function show(element) {
    shown = element;
    panel.replaceChildren(
      ...element.dataset.tip.split("\n").map((line) => {
        const row = document.createElement("div");
        row.textContent = line;
        return row;
      }),
    );
    panel.hidden = false;
    place(element);
  }

  function hide() {
    shown = null;
    panel.hidden = true;
  }

  const target = (event) => (event.target.closest ? event.target.closest("[data-tip]") : null);
  const focused = () => document.activeElement?.closest?.("[data-tip]");

  document.addEventListener("pointerover", (event) => {
    const element = target(event);
    if (element) show(element);
    else if (shown && event.pointerType !== "touch" && shown !== focused()) hide();
  });
  document.addEventListener("focusin", (event) => {
    const element = target(event);
    if (element?.matches(":focus-visible")) show(element);
  });
  document.addEventListener("focusout", hide);
  document.addEventListener("click", (event) => {
    const element = target(event);
    if (element) show(element);
    else hide();
  });
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
  document.addEventListener("scroll", () => shown && place(shown), { capture: true, passive: true });
})();
