"""Published networks of non-local rules: the kernel beside matrix algebra, and what theory says they find."""

from __future__ import annotations

import naive
import numba
import numpy as np
import pytest

from discover.tasks.pca import principal_components
from sims.published import NETWORKS, simulate
from sims.rate import BLOW_UP_NORM, Schedule


def problems(n_problems: int, n_outputs: int, n_inputs: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(n_problems, 30, n_inputs)) / np.sqrt(np.arange(1, n_inputs + 1))
    return inputs, 0.3 * rng.normal(size=(n_problems, n_outputs, n_inputs))


@pytest.mark.parametrize("batch", [1, 7])
@pytest.mark.parametrize("n_outputs", [1, 2, 5])
@pytest.mark.parametrize("network", NETWORKS)
def test_networks_run_as_matrix_algebra_says(network: str, n_outputs: int, batch: int) -> None:
    inputs, weights = problems(3, n_outputs, 6)
    order = np.random.default_rng(1).integers(30, size=(5, batch))
    schedule = Schedule(order, 23, 0.05)
    outcome = simulate(network, inputs, weights, schedule, every=4)
    for p in range(3):
        responses, lateral = naive.published_network(network, inputs[p], weights[p], schedule)
        np.testing.assert_allclose(outcome.response[p], responses[-1], rtol=1e-9, atol=1e-12)
        if outcome.lateral is None:
            assert not lateral.any()
        else:
            np.testing.assert_allclose(outcome.lateral[p], lateral, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(outcome.record[p], responses[:-1][::4], rtol=1e-9, atol=1e-12)
    assert (outcome.blow_up == -1).all()


@pytest.mark.parametrize("network", NETWORKS)
def test_networks_span_the_principal_subspace(network: str) -> None:
    inputs, weights = problems(2, 3, 8)
    n_steps = 6000
    outcome = simulate(network, inputs, weights, Schedule.whole_sample(30, n_steps, 0.1))
    for p in range(2):
        components, _ = principal_components(inputs[p], 3)
        basis, _ = np.linalg.qr(outcome.response[p].T)
        assert np.linalg.norm(basis @ basis.T - components.T @ components) < 1e-3


def test_sanger_finds_the_components_in_order() -> None:
    inputs, weights = problems(2, 3, 8)
    end = simulate("sanger", inputs, weights, Schedule.whole_sample(30, 6000, 0.1)).response
    for p in range(2):
        components, _ = principal_components(inputs[p], 3)
        np.testing.assert_allclose(np.abs(end[p] @ components.T), np.eye(3), atol=1e-3)


@pytest.mark.parametrize("network", ["oja-subspace", "similarity-matching"])
def test_subspace_rules_end_orthonormal(network: str) -> None:
    inputs, weights = problems(2, 3, 8)
    end = simulate(network, inputs, weights, Schedule.whole_sample(30, 6000, 0.1)).response
    np.testing.assert_allclose(end @ end.swapaxes(1, 2), np.broadcast_to(np.eye(3), (2, 3, 3)), atol=1e-3)


def test_linear_foldiak_ends_with_uncorrelated_outputs() -> None:
    inputs, weights = problems(2, 3, 8)
    end = simulate("foldiak-linear", inputs, weights, Schedule.whole_sample(30, 6000, 0.1))
    outputs = inputs @ end.response.swapaxes(1, 2)
    products = outputs.swapaxes(1, 2) @ outputs / 30
    off = products[:, ~np.eye(3, dtype=bool)]
    assert np.abs(off).max() < 1e-3
    assert end.lateral is not None
    np.testing.assert_allclose(end.lateral, end.lateral.swapaxes(1, 2), atol=1e-12)


def test_a_network_that_blows_up_says_when_and_stops_at_zero() -> None:
    inputs, weights = problems(2, 2, 4)
    weights[1] *= 0.5 * BLOW_UP_NORM
    outcome = simulate("oja-subspace", inputs, weights, Schedule.whole_sample(30, 50, 0.5))
    assert outcome.blow_up[0] == -1
    assert 1 <= outcome.blow_up[1] <= 50
    assert not outcome.response[1].any()


@pytest.mark.parametrize("network", NETWORKS)
def test_threads_do_not_change_a_bit(network: str) -> None:
    inputs, weights = problems(16, 3, 40)
    schedule = Schedule.whole_sample(30, 100, 0.05)
    before = numba.get_num_threads()
    ends = []
    try:
        for threads in (1, min(2, numba.config.NUMBA_NUM_THREADS)):
            numba.set_num_threads(threads)
            ends.append(simulate(network, inputs, weights, schedule).response)
    finally:
        numba.set_num_threads(before)
    assert np.array_equal(*ends)


def test_bad_input_is_refused() -> None:
    inputs, weights = problems(2, 2, 4)
    schedule = Schedule.whole_sample(30, 5, 0.1)
    with pytest.raises(ValueError, match="no network 'sangr'"):
        simulate("sangr", inputs, weights, schedule)
    with pytest.raises(ValueError, match="Initial weights have shape"):
        simulate("sanger", inputs, weights[:, :, :3], schedule)
    with pytest.raises(ValueError, match="at least one step apart"):
        simulate("sanger", inputs, weights, schedule, every=0)
    with pytest.raises(ValueError, match="samples outside"):
        simulate("sanger", inputs[:, :9], weights, schedule)
