"""One look for all figures: colours that colour-blind readers tell apart, the same bytes every time."""

from __future__ import annotations

import base64
import errno
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from discover.checked import write_whole

__all__ = [
    "BLACK",
    "BLUE",
    "GREEN",
    "GREY",
    "LINES",
    "ORANGE",
    "PURPLE",
    "SKY",
    "VERMILLION",
    "WIDTH",
    "data_uri",
    "new_figure",
    "save",
    "styled",
]

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
GREY = "#8A8F98"

LINES = (
    (BLUE, "-"),
    (VERMILLION, "--"),
    (GREEN, "-."),
    (PURPLE, (0, (1, 1))),
    (ORANGE, (0, (5, 1, 1, 1, 1, 1))),
    (SKY, (0, (3, 1))),
    (BLACK, (0, (1, 2))),
)
"""Colour and dashes of a figure's lines, in their order; no two differ in colour alone.

References
----------
Okabe & Ito (2008), Color universal design; their yellow is left out, it is too faint on white.
"""

WIDTH = 5.2
"""Width of a figure in inches: its text is still readable on the screen of a phone."""

_SETTINGS: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#444B55",
    "axes.grid": True,
    "axes.labelcolor": "#20252B",
    "axes.labelsize": 10.5,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.unicode_minus": True,
    "figure.dpi": 100.0,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10.5,
    "grid.color": "#E3E6EA",
    "grid.linewidth": 0.8,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "mathtext.fontset": "dejavusans",
    "savefig.dpi": 160.0,
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "plasticity-discovery",
    "text.parse_math": True,
    "text.usetex": False,
    "xtick.color": "#444B55",
    "xtick.labelcolor": "#20252B",
    "ytick.color": "#444B55",
    "ytick.labelcolor": "#20252B",
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the project's style, whatever the user's own settings of Matplotlib are."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """Return an empty figure; no window, no global state."""
    return Figure(figsize=(width, height), layout="constrained")


def save(figure: Figure, folder: Path, name: str) -> None:
    """Write a figure as ``name.svg`` and ``name.png``; equal figures make equal bytes.

    Raises
    ------
    OSError
        When a file cannot be written.
    """
    if folder.is_symlink():
        raise OSError(errno.ELOOP, "figures are not written through a symbolic link", str(folder))
    metadata: dict[str, dict[str, Any]] = {
        "svg": {"Date": None, "Creator": None},
        "png": {"Software": None},
    }
    # The layout takes as long as all else, and would be made anew for each format.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for kind, fields in metadata.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, metadata=fields)
        write_whole(folder / f"{name}.{kind}", buffer.getvalue())


def data_uri(path: Path) -> str:
    """Return an SVG file as an address that holds all of it."""
    return "data:image/svg+xml;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
