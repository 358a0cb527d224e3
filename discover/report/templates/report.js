"use strict";
(function () {
  document.documentElement.classList.add("js");
  var plot = document.getElementById("front-plot");
  var figure = JSON.parse(document.getElementById("front-data").textContent);
  var panels = document.querySelectorAll(".panel");
  var rows = document.querySelectorAll("tr[data-candidate]");
  var ring = figure.data.length - 1;
  var places = {};
  figure.data.forEach(function (trace) {
    (trace.customdata || []).forEach(function (number, position) {
      places[number] = [trace.x[position], trace.y[position]];
    });
  });

  var shown = plot.dataset.chosen;

  function show(number, scroll) {
    shown = String(number);
    panels.forEach(function (panel) { panel.hidden = panel.dataset.candidate !== String(number); });
    rows.forEach(function (row) { row.classList.toggle("shown", row.dataset.candidate === String(number)); });
    if (window.Plotly && places[number]) {
      Plotly.restyle(plot, { x: [[places[number][0]]], y: [[places[number][1]]] }, [ring]);
    }
    if (scroll) { document.getElementById("details").scrollIntoView({ block: "nearest" }); }
  }

  // Colours of the plot are those of the page, which follow the reader's choice of a light or a dark one.
  function colours() {
    var style = getComputedStyle(document.documentElement);
    function value(name) { return style.getPropertyValue(name).trim(); }
    return {
      paper_bgcolor: value("--paper"), plot_bgcolor: value("--paper"), "font.color": value("--ink"),
      "xaxis.gridcolor": value("--line"), "yaxis.gridcolor": value("--line"),
      "xaxis.linecolor": value("--edge"), "yaxis.linecolor": value("--edge"),
      "hoverlabel.bgcolor": value("--paper"), "hoverlabel.font.color": value("--ink"),
      "annotations[0].bgcolor": value("--paper"), "annotations[0].font.color": value("--red")
    };
  }

  var touch = window.matchMedia("(pointer: coarse)").matches;
  figure.layout.dragmode = touch ? false : "zoom";
  Plotly.newPlot(plot, figure.data, figure.layout, {
    responsive: true, displaylogo: false, doubleClick: "reset", displayModeBar: touch ? false : "hover",
    // None of Plotly's buttons that would send the data elsewhere.
    showSendToCloud: false, plotlyServerURL: "", modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]]
  }).then(function () {
    plot.on("plotly_click", function (event) {
      var number = event.points[0].customdata;
      if (number !== undefined) { show(number, false); }
    });
    show(plot.dataset.chosen, false);
    Plotly.relayout(plot, colours());
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", function () {
      Plotly.relayout(plot, colours());
    });
  });
  // From the simplest candidate to the most complex one, and down the losses of equal ones.
  var order = Object.keys(places).sort(function (a, b) {
    return places[a][0] - places[b][0] || places[b][1] - places[a][1];
  });
  plot.addEventListener("keydown", function (event) {
    var step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    var ends = { Home: 0, End: order.length - 1 };
    if (step === undefined && !(event.key in ends)) { return; }
    if (event.ctrlKey || event.altKey || event.metaKey) { return; }
    var next = step === undefined ? ends[event.key] : order.indexOf(shown) + step;
    if (order[next] !== undefined) { show(order[next], false); }
    event.preventDefault();
  });
  document.querySelectorAll("button.pick").forEach(function (button) {
    button.addEventListener("click", function () { show(button.dataset.candidate, true); });
  });
  // On a phone the rows of a wide table become blocks, each cell with the heading of its column.
  document.querySelectorAll(".scroll table:not(.sticky)").forEach(function (table) {
    var heads = [].map.call(table.querySelectorAll("thead th"), function (head) { return head.textContent.trim(); });
    if (heads.length < 4 && !table.querySelector("math")) { return; }
    table.classList.add("stacks");
    table.querySelectorAll("tbody tr").forEach(function (row) {
      [].forEach.call(row.children, function (cell, place) {
        if (place && heads[place] && cell.textContent.trim()) { cell.dataset.label = heads[place]; }
      });
    });
  });
  document.querySelectorAll(".copied").forEach(function (box) {
    var button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.addEventListener("click", function () {
      var selection = window.getSelection();
      selection.selectAllChildren(box.querySelector("pre"));
      // A page that was opened from a disk may not use navigator.clipboard in every browser.
      button.textContent = document.execCommand("copy") ? "Copied" : "Press Ctrl-C";
      window.setTimeout(function () { button.textContent = "Copy"; }, 2000);
    });
    box.appendChild(button);
  });
})();
