"""What an experiment would see of a spiking rule: pairing curves, dependence on rates, the mean-field rate.

Times are in ms and rates in Hz. A weight changes by ``learning_rate * on_pre(x_post, w)`` at a presynaptic
spike and by ``learning_rate * on_post(x_pre, w)`` at a postsynaptic one and stays within its bounds; of two
spikes at one time the presynaptic one comes first, and a trace is read before its own jump.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from discover.errors import RuleError
from discover.rule import Rule
from discover.slots import ON_POST, ON_PRE, TAU_POST, TAU_PRE
from discover.stored import Stored
from discover.traces import drawn_traces

__all__ = [
    "LinearParameters",
    "RateMap",
    "linear_parameters",
    "mean_field_rate",
    "pairing_frequency",
    "rate_dependence",
    "stdp_window",
]

FloatArray = NDArray[np.float64]

N_DRAWS = 4_000
"""Draws of a trace over which the drift of a rule that is not linear in it is averaged."""


@dataclass(frozen=True)
class LinearParameters(Stored):
    """The published family: ``on_pre = alpha + kappa*x_post``, ``on_post = beta + gamma*x_pre``.

    Attributes
    ----------
    alpha, beta, gamma, kappa : float
    tau_pre, tau_post : float
        Time constants of the traces, ms.

    References
    ----------
    Confavreux et al. (NeurIPS 2020), section 4.
    """

    alpha: float
    beta: float
    gamma: float
    kappa: float
    tau_pre: float
    tau_post: float

    @property
    def coincidence(self) -> float:
        """``gamma*tau_pre + kappa*tau_post`` in seconds: in a mean field these four enter as this sum."""
        return (self.gamma * self.tau_pre + self.kappa * self.tau_post) / 1000.0

    @property
    def rule(self) -> Rule:
        """The parameters as a rule."""
        updates = {
            ON_PRE.name: {"1": self.alpha, "x_post": self.kappa},
            ON_POST.name: {"1": self.beta, "x_pre": self.gamma},
        }
        kept = {
            slot: {term: value for term, value in terms.items() if value} for slot, terms in updates.items()
        }
        return Rule.from_coefficients(
            {**kept, TAU_PRE.name: {"1": self.tau_pre}, TAU_POST.name: {"1": self.tau_post}}
        )


@dataclass(frozen=True)
class RateMap:
    """Mean change of a weight for independent Poisson trains.

    Attributes
    ----------
    pre_hz, post_hz : ndarray, shape (n_pre,) and (n_post,)
    drift : ndarray, shape (n_pre, n_post)
        Weight per second.
    """

    pre_hz: FloatArray
    post_hz: FloatArray
    drift: FloatArray


def linear_parameters(rule: Rule) -> LinearParameters | None:
    """Return the parameters of a rule of the published family; None for any other.

    Examples
    --------
    >>> vogels = Rule.parse({"on_pre": "x_post - 0.25", "on_post": "x_pre"})
    >>> linear_parameters(vogels)
    LinearParameters(alpha=-0.25, beta=0.0, gamma=1.0, kappa=1.0, tau_pre=20.0, tau_post=20.0)
    """
    if not rule.is_polynomial:
        return None
    table = rule.coefficients()
    pre, post = table.get(ON_PRE.name, {}), table.get(ON_POST.name, {})
    if not (pre.keys() <= {"1", "x_post"} and post.keys() <= {"1", "x_pre"}):
        return None
    return LinearParameters(
        pre.get("1", 0.0),
        post.get("1", 0.0),
        post.get("x_pre", 0.0),
        pre.get("x_post", 0.0),
        rule.constant(TAU_PRE.name),
        rule.constant(TAU_POST.name),
    )


def mean_field_rate(parameters: LinearParameters, pre_hz: ArrayLike) -> FloatArray:
    """Return the postsynaptic rate at which weights stand still, if spike trains are independent.

    ``rate = -alpha*pre / (beta + (gamma*tau_pre + kappa*tau_post)*pre)``, stable for ``alpha < 0`` and a
    positive denominator: a neuron that fires more then has its inhibition strengthened.

    Parameters
    ----------
    parameters : LinearParameters
    pre_hz : array_like
        Presynaptic rate.

    Returns
    -------
    ndarray
        Hz, NaN where there is no stable rate.

    Examples
    --------
    >>> optimum = LinearParameters(-1.411, 0.016, 0.716, 1.081, 54.4, 97.5)
    >>> [round(float(rate), 2) for rate in mean_field_rate(optimum, [10.0, 50.0])]
    [9.67, 9.75]
    """
    pre = np.asarray(pre_hz, dtype=np.float64)
    slope = parameters.beta + parameters.coincidence * pre
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = -parameters.alpha * pre / slope
    return np.where((parameters.alpha < 0) & (slope > 0), rate, np.nan)


def stdp_window(
    rule: Rule,
    lags_ms: ArrayLike,
    *,
    weight: float,
    learning_rate: float = 1.0,
    largest_weight: float = np.inf,
    n_pairs: int = 60,
    frequency_hz: float = 1.0,
) -> FloatArray:
    """Return the weight change after a train of spike pairs, by lag.

    Parameters
    ----------
    rule : Rule
    lags_ms : array_like, shape (n,)
        Postsynaptic minus presynaptic spike time.
    weight : float
        At the start.
    learning_rate, largest_weight : float
    n_pairs : int
    frequency_hz : float

    Returns
    -------
    ndarray, shape (n,)

    References
    ----------
    Bi & Poo (1998), J. Neurosci. 18:10464, for the protocol.

    Examples
    --------
    >>> vogels = Rule.parse({"on_pre": "x_post - 0.25", "on_post": "x_pre"})
    >>> change = stdp_window(vogels, [-10.0, 10.0], weight=1.0, n_pairs=1)
    >>> bool(np.allclose(change, np.exp(-0.5) - 0.25))
    True
    """
    updates = _updates(rule)
    period = 1000.0 / frequency_hz
    pre: FloatArray = period * np.arange(n_pairs, dtype=np.float64)
    bounds = 0.0, largest_weight
    return np.array(
        [_paired(updates, rule, pre, pre + lag, weight, learning_rate, bounds) for lag in np.asarray(lags_ms)]
    )


def pairing_frequency(
    rule: Rule,
    frequencies_hz: ArrayLike,
    lag_ms: float,
    *,
    weight: float,
    learning_rate: float = 1.0,
    largest_weight: float = np.inf,
    n_pairs: int = 60,
) -> FloatArray:
    """Return the weight change after a train of spike pairs with one lag, by frequency, shape (n,).

    See :func:`stdp_window` for the parameters.

    References
    ----------
    Sjöström, Turrigiano & Nelson (2001), Neuron 32:1149, for the protocol.
    """
    return np.array(
        [
            stdp_window(
                rule,
                [lag_ms],
                weight=weight,
                learning_rate=learning_rate,
                largest_weight=largest_weight,
                n_pairs=n_pairs,
                frequency_hz=float(frequency),
            )[0]
            for frequency in np.asarray(frequencies_hz)
        ]
    )


def rate_dependence(
    rule: Rule,
    pre_hz: ArrayLike,
    post_hz: ArrayLike,
    *,
    weight: float,
    learning_rate: float = 1.0,
    seed: int = 0,
) -> RateMap:
    """Return the mean drift of a weight for independent Poisson trains, at a fixed weight.

    ``pre * <on_pre(x_post, w)> + post * <on_post(x_pre, w)>``. For updates that are linear in the trace the
    mean is exact, as that of the trace is rate times time constant; for others it is taken over draws of the
    trace's stationary distribution.

    Parameters
    ----------
    rule : Rule
    pre_hz, post_hz : array_like, shape (n_pre,) and (n_post,)
    weight, learning_rate : float
    seed : int
        Of the draws.

    Returns
    -------
    RateMap
    """
    pre, post = np.asarray(pre_hz, dtype=np.float64), np.asarray(post_hz, dtype=np.float64)
    on_pre, on_post = _updates(rule)
    rng = np.random.default_rng(seed)
    by_post = _mean_update(on_pre, post, rule.constant(TAU_POST.name), weight, rng)
    by_pre = _mean_update(on_post, pre, rule.constant(TAU_PRE.name), weight, rng)
    drift = learning_rate * (pre[:, None] * by_post[None, :] + post[None, :] * by_pre[:, None])
    return RateMap(pre, post, drift)


Update = Callable[[FloatArray, FloatArray], FloatArray]


def _updates(rule: Rule) -> tuple[Update, Update]:
    """Return the two updates as functions of trace and weight.

    Raises
    ------
    RuleError
        If the rule is not one of a spiking synapse.
    """
    functions = rule.numpy()
    if not functions.keys() <= {ON_PRE.name, ON_POST.name}:
        raise RuleError(
            "Pairing experiments are for rules of spiking synapses, with slots on_pre and on_post."
        )

    def update(slot: str, trace: str) -> Update:
        if slot not in functions:
            return lambda x, w: np.zeros_like(x)
        return lambda x, w: np.broadcast_to(functions[slot](**{trace: x, "w": w}), np.shape(x))

    return update(ON_PRE.name, "x_post"), update(ON_POST.name, "x_pre")


def _paired(
    updates: tuple[Update, Update],
    rule: Rule,
    pre_ms: FloatArray,
    post_ms: FloatArray,
    weight: float,
    learning_rate: float,
    bounds: tuple[float, float],
) -> float:
    """Go from spike to spike and return the change of the weight."""
    times = np.concatenate([pre_ms, post_ms])
    is_post = np.repeat([False, True], [len(pre_ms), len(post_ms)])
    order = np.lexsort((is_post, times))
    taus = np.array([rule.constant(TAU_PRE.name), rule.constant(TAU_POST.name)])
    traces, now, w = np.zeros(2), float(times.min(initial=0.0)), weight
    for k in order:
        traces *= np.exp(-(times[k] - now) / taus)
        now = float(times[k])
        side = int(is_post[k])
        # A presynaptic spike reads the postsynaptic trace, and the other way round.
        change = updates[side](traces[1 - side : 2 - side], np.array([w]))
        w = float(np.clip(w + learning_rate * float(change[0]), *bounds))
        traces[side] += 1.0
    return w - weight


def _mean_update(
    update: Update, rates_hz: FloatArray, tau_ms: float, weight: float, rng: np.random.Generator
) -> FloatArray:
    """Mean of an update over the trace of a Poisson train at each rate, shape (n_rates,)."""
    if _is_affine_in_trace(update, weight):
        return update(rates_hz * tau_ms / 1000.0, np.full(len(rates_hz), weight))
    means = [
        update(drawn_traces(np.full(N_DRAWS, rate), tau_ms, rng), np.full(N_DRAWS, weight)).mean()
        for rate in rates_hz
    ]
    return np.array(means)


def _is_affine_in_trace(update: Update, weight: float) -> bool:
    """Whether an update is a straight line in the trace, at this weight."""
    trace = np.array([0.0, 0.5, 1.0, 2.0, 5.0])
    values = update(trace, np.full(len(trace), weight))
    line = values[0] + (values[2] - values[0]) * trace
    return bool(np.allclose(values, line, rtol=1e-9, atol=1e-12 * float(np.abs(values).max())))
