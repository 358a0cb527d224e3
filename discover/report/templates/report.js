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

  var touch = window.matchMedia("(pointer: coarse)").matches;
  figure.layout.dragmode = touch ? false : "zoom";
  Plotly.newPlot(plot, figure.data, figure.layout, {
    responsive: true, displaylogo: false, displayModeBar: touch ? false : "hover",
    // None of Plotly's buttons that would send the data elsewhere.
    showSendToCloud: false, plotlyServerURL: "", modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]]
  }).then(function () {
    plot.on("plotly_click", function (event) {
      var number = event.points[0].customdata;
      if (number !== undefined) { show(number, false); }
    });
    show(plot.dataset.chosen, false);
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
})();
