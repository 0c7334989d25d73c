// In a notebook the page stands in a frame: give the frame the height of what it shows.
(() => {
  "use strict";
  let frame = null;
  try {
    frame = window.frameElement;
  } catch {
    return; // a frame of another origin keeps the height it was given
  }
  if (!frame) return;
  const fit = () => {
    frame.style.height = `${Math.ceil(document.body.getBoundingClientRect().height) + 4}px`;
  };
  new ResizeObserver(fit).observe(document.body);
})();
