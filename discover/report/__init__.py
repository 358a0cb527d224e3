"""The report of a run: figures, and one HTML file that opens anywhere."""

from __future__ import annotations

from pathlib import Path

__all__ = ["write_report"]


def write_report(run_folder: Path) -> Path:
    """Draw the figures of a finished run and write its report.

    Parameters
    ----------
    run_folder : Path
        Folder of the run, with the artefacts of all stages.

    Returns
    -------
    Path
        ``report.html`` in that folder; it needs no other file and no network. The figures lie beside it in
        ``figures/``, as SVG and PNG.

    Raises
    ------
    ArtefactError
        When an artefact is missing, damaged, or written by a later version.
    OSError
        When a file cannot be written.
    """
    from discover.checked import write_whole
    from discover.known_rules import KNOWN_RULES
    from discover.report.curves import best_speeds, checked_settings, learning_curves
    from discover.report.figures import draw_figures
    from discover.report.memory import memory_section
    from discover.report.page import render_page
    from discover.report.portrait import portrait_section
    from discover.report.posterior import posterior_section
    from discover.report.reading import read_run
    from discover.report.seed_study import study_section
    from discover.report.spiking import spiking_section
    from discover.report.teacher import teacher_section
    from discover.tasks import get_task

    run = read_run(run_folder)
    task = get_task(run.config.task)
    rules = {"chosen rule": run.front.chosen.rule}
    settings = checked_settings(task, run.config.sections["problems"])
    reference = KNOWN_RULES.get(task.reference_for(settings))
    if reference is not None and reference.rule is not None:
        rules[reference.title] = reference.rule
    curves = learning_curves(
        task, run.config.sections["problems"], run.config.seed, rules, best_speeds(run, rules)
    )
    figures, axis = run_folder / "figures", task.curve_axis(settings)
    draw_figures(run, curves, axis, figures)
    sections = (
        spiking_section(run, task, settings, figures),
        teacher_section(run, task, settings, figures),
        portrait_section(run, task, settings, rules, figures),
        study_section(run),
        memory_section(run, task, settings, figures),
        posterior_section(run_folder),
    )
    page = run_folder / "report.html"
    write_whole(page, render_page(run, task, curves, axis[1], figures, *sections).encode())
    return page
