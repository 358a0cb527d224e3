"""The artefacts of a finished run, small and made by hand, to test what reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from discover.rule import Rule


def candidate(name: str, rule: str, heldout: float, on_front: bool = True, **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "slots": {"feedforward": rule},
        "complexity": Rule.parse(rule).complexity,
        "train_loss": 0.97 * heldout,
        "heldout_loss": heldout,
        "heldout_error": 0.1 * heldout,
        "provenance": {"proposed_by": ["l1-path", "terms"], "refined_by": "meta-loss"},
        "on_front": on_front,
        **more,
    }


def point(penalty: float, restart: int = 0, origin: str = "path", **terms: float) -> dict[str, Any]:
    """A point of the path; ``xy`` stands for x*y and so on."""
    names = {
        "xy": "x*y",
        "wyy": "w*y**2",
        "x": "x",
        "w": "w",
        "wxy": "w*x*y",
        "yy": "y**2",
        "wxxyy": "w*x**2*y**2",
    }
    coefficients = {names[term]: value for term, value in terms.items()}
    loss = 0.1 + 0.2 * penalty + 0.005 * len(terms)
    return {
        "penalty": penalty,
        "coefficients": {"feedforward": coefficients},
        "n_terms": len(terms),
        "train_loss": loss,
        "heldout_loss": 1.05 * loss,
        "heldout_error": 0.01,
        "restart": restart,
        "origin": origin,
    }


def fold(name: str, title: str, loss: float, passed: bool = True, reason: str = "") -> dict[str, Any]:
    metrics = {
        "loss": {"mean": loss, "low": 0.9 * loss, "high": 1.1 * loss},
        "cosine": {"mean": 1 - loss / 10, "low": None, "high": None},
    }
    return {"name": name, "title": title, "metrics": metrics, "passed": passed, "reason": reason}


def standing(verdict: str = "equal") -> dict[str, Any]:
    metric = {"mean": 0.2, "low": 0.1, "high": 0.3}
    return {"known": metric, "difference": metric, "verdict": verdict}


def folds(factor: float = 1.0) -> dict[str, Any]:
    conditions = [
        fold("inputs-half", "10 inputs instead of 20", 0.11 * factor),
        fold("inputs-tenfold", "200 inputs instead of 20", 0.21 * factor),
        fold("laplace", "inputs with heavy tails (Laplace)", 0.13 * factor),
        fold("digits", "images of handwritten digits, 64 pixels", 0.12 * factor),
    ]
    if factor > 1.5:
        conditions[1] |= {"passed": False, "reason": "loss 0.42 is above that of oja, 0.21"}
    return {"folds": conditions, "passed": factor <= 1.5}


def artefacts() -> dict[str, Any]:
    """A whole run, small and made by hand."""
    candidates = [
        candidate("c00", "0.9*x*y", 0.95),
        candidate("c01", "x*y - 0.8*w*y", 0.41),
        candidate("c02", "0.98213*x*y - 0.97124*w*y**2", 0.112),
        candidate("c03", "x*y - w*y**2 - 1.25e-5*w*x**2/(1 + abs(y))", 0.109),
        candidate("c04", "x*y - 0.5*w*tanh(y)*y", 0.33, on_front=False),
    ]
    dense = {"xy": 1.02, "wyy": -0.95, "x": 0.05, "w": -0.08, "wxy": 0.03, "yy": -0.02, "wxxyy": 0.01}
    less = {"xy": 1.0, "wyy": -0.98, "w": -0.05}
    evidence = {
        "oja": {
            "verdict": "same up to scale",
            "scales": {"feedforward": 0.98},
            "ratios": {"w*y**2 : x*y": -0.989},
            "flipped": False,
        },
        "hebb": {"verdict": "extra terms", "scales": {}, "extra_terms": {"w*y**2": -0.97}},
    }
    distances = {
        "oja": {"coefficient": 0.011, "functional": 0.008, "behavioural": 0.002},
        "hebb": {"coefficient": 1.0, "functional": 0.9, "behavioural": None},
    }
    config = {
        "name": "by-hand",
        "task": "stand-in",
        "seed": 3,
        "problems": {"n_inputs": 2, "spectrum": [1.0, 0.5]},
        "fit": {"restarts": 3},
        "search": {"engines": ["auto"], "operon": {"generations": 10}},
    }
    stage = {"settings": "0", "code": "1", "inputs": {}, "outputs": {}, "threads": 2, "engine": []}
    return {
        "config": {"schema": 1, **config},
        "path": {
            "task": "stand-in",
            "points": [
                point(0.0, **dense),
                point(0.001, **dense),
                point(0.01, **less),
                point(0.1, xy=0.99, wyy=-0.99),
                point(1.0, xy=0.6),
                point(0.01, restart=1, **dense),
                point(0.1, origin="elimination", xy=0.99, wyy=-0.99),
            ],
            "chosen": 6,
            "reason": "simplest rule within one standard error of the best",
            "restarts": [{"restart": 0}, {"restart": 1}],
            "term_stability": {"feedforward": {"x*y": 1.0, "w*y**2": 1.0, "w": 0.33}},
        },
        "front": {
            "task": "stand-in",
            "engine": ["operon", "terms"],
            "candidates": candidates,
            "chosen": "c02",
            "reason": "simplest rule within one standard error of the best",
        },
        "validation": {
            "candidates": {
                "c00": folds(9.0),
                "c01": folds(2.0),
                "c02": folds(),
                "c03": folds(0.9),
                "oja": folds(),
            }
        },
        "comparison": {
            "candidates": {
                "c02": {
                    "nearest": "oja",
                    "verdict": "same up to scale",
                    "distances": distances,
                    "evidence": evidence,
                },
                "c00": {"nearest": "hebb", "verdict": "same up to scale", "distances": distances},
                "c03": {"nearest": None, "verdict": "different", "distances": {}},
            },
            "contests": [
                {
                    "name": "hebb",
                    "speed": 1.5,
                    "measures": {"loss": standing("better"), "cosine": standing()},
                },
                {
                    "name": "sanger",
                    "speed": 1.0,
                    "measures": {"loss": standing("worse"), "cosine": standing()},
                },
                {"name": "covariance", "speed": 1.0, "measures": {"loss": standing()}},
            ],
        },
        "manifest": {
            "config": config,
            "seed": 3,
            "versions": {"python": "3.11.2", "numpy": "2.4.0"},
            "platform": {"system": "Linux", "machine": "x86_64", "cores": 2},
            "threads": 2,
            "engine": ["operon", "terms"],
            "code": "0123456789abcdef" * 4,
            "stages": {name: {**stage, "seconds": 12.34} for name in ("simulate", "fit", "search")},
        },
    }


def write_run(folder: Path, content: Mapping[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, artefact in content.items():
        form = {} if name == "config" else {"schema": f"plasticity-discovery/{name}/1"}
        (folder / f"{name}.json").write_text(json.dumps({**form, **artefact}))
    return folder
