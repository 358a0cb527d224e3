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

  function show(number, scroll) {
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
  document.querySelectorAll("button.pick").forEach(function (button) {
    button.addEventListener("click", function () { show(button.dataset.candidate, true); });
  });
})();
