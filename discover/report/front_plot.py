"""The interactive front: a Plotly figure as plain data, which the page draws without any network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

from discover.pareto import Candidate, ParetoFront
from discover.report.axes import front_view, staircase
from discover.report.formula import rule_text
from discover.report.style import BLUE, GREY, VERMILLION

__all__ = ["front_plot"]

_LONGEST_FORMULA = 160
_FONT = {"family": "system-ui, sans-serif", "size": 13, "color": "#20252B"}


def front_plot(front: ParetoFront) -> dict[str, Any]:
    """Return traces and layout; each point carries its candidate's position in the front as custom data."""
    numbered = list(enumerate(front.candidates))
    on_front = sorted(
        ((number, one) for number, one in numbered if one.on_front), key=lambda pair: pair[1].complexity
    )
    complexities, lowest = staircase(front)
    beaten = [(number, one) for number, one in numbered if not one.on_front]
    traces = [
        _points(
            beaten,
            "beaten by another",
            {"symbol": "circle-open", "color": GREY, "size": 9, "line": {"width": 1.5}},
        ),
        {
            "type": "scatter",
            "mode": "lines",
            "x": complexities,
            "y": lowest,
            "line": {"color": BLUE, "width": 1.5, "shape": "hv"},
            "hoverinfo": "skip",
            "showlegend": False,
        },
        _points(on_front, "on the front", {"color": BLUE, "size": 11}),
        _ring(front.chosen),
    ]
    return {"data": traces, "layout": _layout(front)}


def _points(numbered: Sequence[tuple[int, Candidate]], name: str, marker: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [one.complexity for _, one in numbered],
        "y": [one.loss for _, one in numbered],
        "customdata": [number for number, _ in numbered],
        "text": [_hover(one) for _, one in numbered],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": marker,
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [one.high - one.loss for _, one in numbered],
            "arrayminus": [one.loss - one.low for _, one in numbered],
            "color": marker["color"],
            "thickness": 1.2,
            "width": 4,
        },
    }


def _ring(candidate: Candidate) -> dict[str, Any]:
    """Return the mark of the selected candidate, which the page moves."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "shown below",
        "x": [candidate.complexity],
        "y": [candidate.loss],
        "marker": {"symbol": "circle-open", "color": VERMILLION, "size": 20, "line": {"width": 2.5}},
        "hoverinfo": "skip",
    }


def _hover(candidate: Candidate) -> str:
    formula = rule_text(candidate.rule)
    if len(formula) > _LONGEST_FORMULA:
        formula = formula[: _LONGEST_FORMULA - 1] + "…"
    lines = [
        f"<b>{_wrapped(formula)}</b>",
        f"{escape(candidate.id[:40])}: complexity {candidate.complexity:g}",
        f"loss {candidate.loss:.4g} ({candidate.low:.4g} to {candidate.high:.4g})",
    ]
    return "<br>".join(lines)


def _wrapped(text: str, width: int = 42) -> str:
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip(" ")
    return "<br>".join(escape(line) for line in lines)


def _layout(front: ParetoFront) -> dict[str, Any]:
    chosen = front.chosen
    view = front_view(front)
    axis = {"gridcolor": "#E3E6EA", "linecolor": "#444B55", "ticks": "outside", "zeroline": False}
    height = math.log10(chosen.loss) if view.logarithmic else chosen.loss
    return {
        "autosize": True,
        "height": 420,
        "font": _FONT,
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "hovermode": "closest",
        "hoverlabel": {
            "bgcolor": "white",
            "bordercolor": "#444B55",
            "font": {**_FONT, "size": 13},
            "align": "left",
        },
        "margin": {"l": 64, "r": 14, "t": 40, "b": 52},
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
        "xaxis": {**axis, "title": {"text": "complexity"}, "automargin": True, "range": [0, view.right]},
        "yaxis": {
            **axis,
            "title": {"text": front.loss_name},
            "type": "log" if view.logarithmic else "linear",
            "range": [view.low, view.high],
            # Labels at 1, 2 and 5 of each decade, or at decades alone where they would be too many.
            **(
                {"dtick": 1 if view.high - view.low > 2.5 else "D2"}
                if view.logarithmic
                else {"tickvals": list(view.ticks)}
            ),
            "automargin": True,
        },
        "annotations": [
            {
                "x": chosen.complexity,
                "y": height,
                "text": "chosen",
                "ax": 0,
                "ay": 50,
                "showarrow": True,
                "arrowhead": 2,
                "arrowwidth": 2,
                "arrowcolor": VERMILLION,
                "standoff": 11,
                "bgcolor": "rgba(255,255,255,0.85)",
                "font": {**_FONT, "color": "#A33F00"},
            }
        ],
    }
