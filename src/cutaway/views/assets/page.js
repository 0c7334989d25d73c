// The contents follow the reading; what is folded away is printed too.
(() => {
  "use strict";

  const links = new Map(
    [...document.querySelectorAll(".ct-contents a")].map((link) => [link.hash.slice(1), link]),
  );

  function follow(entries) {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const link of links.values()) link.removeAttribute("aria-current");
      links.get(entry.target.id)?.setAttribute("aria-current", "true");
    }
  }

  // A section is being read once it crosses a line a quarter down the window.
  const watcher = new IntersectionObserver(follow, { rootMargin: "-25% 0px -74% 0px" });
  for (const section of document.querySelectorAll("main > section[id]")) watcher.observe(section);

  const folded = () => document.querySelectorAll("details:not([open])");
  window.addEventListener("beforeprint", () => {
    for (const one of folded()) Object.assign(one, { open: true }).dataset.printed = "";
  });
  window.addEventListener("afterprint", () => {
    for (const one of document.querySelectorAll("details[data-printed]")) {
      one.open = false;
      delete one.dataset.printed;
    }
  });
})();
