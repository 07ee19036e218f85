// Draws the figures of a page with its colours, and redraws them when those change; shared by every page with pictures.
"use strict";
const pictures = (function () {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const plots = Array.from(document.querySelectorAll(".plot"));
  const hidden = new Set();
  const root = document.documentElement;

  // Python writes colours as CSS variables; only colours are replaced, so no label can pose as one.
  function coloured(value, key, style) {
    if (typeof value === "string") {
      const found = /color$/.test(key) && /^var\((--[a-z0-9]+)\)$/.exec(value);
      return found ? style.getPropertyValue(found[1]).trim() : value;
    }
    if (Array.isArray(value)) return value.map((item) => coloured(item, key, style));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, coloured(item, name, style)]));
    }
    return value;
  }

  function draw(plot, onPaper) {
    const figure = coloured(figures[plot.dataset.figure], "", getComputedStyle(root));
    for (const trace of figure.data) if (hidden.has(trace.legendgroup)) trace.visible = false;
    const wide = plot.closest("figure").matches(".wide, :first-child");
    if (onPaper) figure.layout.width = Number(plot.dataset.paperWidth) || (wide ? 880 : 430);
    return Plotly.react(plot, figure.data, figure.layout, { displayModeBar: false, responsive: !onPaper, scrollZoom: false });
  }

  function drawAll(onPaper) {
    return Promise.all(plots.map((plot) => draw(plot, onPaper)));
  }

  document.querySelectorAll(".key button").forEach((button) => {
    button.addEventListener("click", () => {
      const shown = button.getAttribute("aria-pressed") === "true";
      button.setAttribute("aria-pressed", String(!shown));
      if (shown) hidden.add(button.dataset.group);
      else hidden.delete(button.dataset.group);
      drawAll();
    });
  });

  // Paper is light and has no window to fit; it shows the sections that are open.
  window.addEventListener("beforeprint", () => {
    root.classList.add("paper");
    drawAll(true);
  });
  window.addEventListener("afterprint", () => {
    root.classList.remove("paper");
    drawAll();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll());
  drawAll().then(() => (root.dataset.ready = "true"));
  return { figures, draw, drawAll };
})();
