"""Kernels of a two-layer rate network whose feed-forward and lateral synapses change by two rules.

Outputs are ``y0 = W x`` and ``y_k = y0_k + sum_{j<k} v_kj y0_j``. Weights do not change while the samples of
one step are shown, so that a step first collects the outputs of the whole batch. Both layers of synapses then
run the same code: the lateral layer's input is y, and its output k has the synapses ``j < k`` alone.

A rule that is quadratic in input and weight needs nine numbers for each output, ``c_q(y)`` with
``q = 3 * m + n`` for ``x**m w**n``; these come from 27 coefficients or from a program over y, run on all
outputs of a batch in lock-step. Any other program is interpreted over blocks of synapses.

Problems share nothing and each writes its own rows: results are bit-identical for any number of threads.

Shapes of one problem: ``w (n_outputs, n_inputs)``, ``v (n_outputs, n_outputs)`` below the diagonal,
``first`` = y0 and ``y`` (batch, n_outputs). A layer reads row ``picks[b]`` of `source` for sample b of a
batch. A lane is one output of one sample: lane ``b * n_outputs + k``.
"""

from typing import NamedTuple

import numpy as np

from sims._borrowed import borrowed
from sims._compiled import helper, kernel
from sims._operations import ADD, MUL, second_operand, slopes_of, value_of

TABLE, COLLAPSED, INTERPRETED = 0, 1, 2
"""Forms of a rule: coefficient table; program over y for the nine numbers; program for the update."""

BLOCK = 512
"""Synapses that the interpreter runs in lock-step, more only where a single output has more."""

PRE, POST, WEIGHT = 0, 1, 2
"""Registers of an interpreted program's variables."""


class SlotRule(NamedTuple):
    """The rule of one layer of synapses as these kernels take it.

    `table` (3, 9) holds the coefficients of a polynomial, indexed by the power of the output and by q. The
    registers of a program are its variables (the output alone where it is collapsed), `constants`, then one
    for each row of `code`. ``outputs[q]`` is the register of coefficient q, -1 standing for zero; an
    interpreted program has its result in ``outputs[0]``. `is_linear` promises that the coefficients of the
    squares of input and weight and of their product vanish. `hierarchical` marks the lateral layer.
    """

    form: int
    hierarchical: bool
    is_linear: bool
    table: np.ndarray
    constants: np.ndarray
    code: np.ndarray
    outputs: np.ndarray


class Course(NamedTuple):
    """What all problems share: samples of each step, learning rates, length, bound, steps between records."""

    order: np.ndarray
    eta: float
    eta_lateral: float
    n_steps: int
    bound: float
    every: int


class Layer(NamedTuple):
    """Memory of one layer of synapses; the tapes hold the registers of its program."""

    coefficients: np.ndarray  # (9, n_lanes)
    moments: np.ndarray  # (9, n_lanes)
    drive: np.ndarray  # (3, n_inputs)
    tape: np.ndarray
    adjoints: np.ndarray


@helper
def _layer(rule, batch, n_outputs, n_inputs):
    n_lanes = batch * n_outputs
    n_columns = n_lanes
    n_variables = 1
    if rule.form == INTERPRETED:
        n_columns = n_inputs * min(batch, max(1, BLOCK // n_inputs))
        n_variables = 3
    tape = np.empty((n_variables + rule.constants.shape[0] + rule.code.shape[0], n_columns))
    for c in range(rule.constants.shape[0]):
        tape[n_variables + c] = rule.constants[c]
    return Layer(
        np.zeros((9, n_lanes)),
        np.zeros((9, n_lanes)),
        np.empty((3, n_inputs)),
        tape,
        np.empty_like(tape),
    )


@helper
def _uncounted(rule, layer):
    """Return the same rule and memory with arrays whose users are not counted; the caller keeps them."""
    return (
        SlotRule(
            rule.form, rule.hierarchical, rule.is_linear, borrowed(rule.table), borrowed(rule.constants),
            borrowed(rule.code), borrowed(rule.outputs),
        ),
        Layer(
            borrowed(layer.coefficients), borrowed(layer.moments), borrowed(layer.drive),
            borrowed(layer.tape), borrowed(layer.adjoints),
        ),
    )  # fmt: skip


@helper(inline="always")
def _n_synapses(rule, k, n_inputs):
    return k if rule.hierarchical else n_inputs


@helper
def _run(rule, tape, n):
    """Run a program over the first `n` entries of its registers."""
    first = tape.shape[0] - rule.code.shape[0]
    for row in range(rule.code.shape[0]):
        op, a = rule.code[row, 0], rule.code[row, 1]
        b = second_operand(op, a, rule.code[row, 2])
        r = first + row
        if op == MUL:
            for i in range(n):
                tape[r, i] = tape[a, i] * tape[b, i]
        elif op == ADD:
            for i in range(n):
                tape[r, i] = tape[a, i] + tape[b, i]
        else:
            for i in range(n):
                tape[r, i] = value_of(op, tape[a, i], tape[b, i], rule.code[row, 2])


@helper
def _pull(rule, tape, adjoints, n, gradient):
    """Pull adjoints back through a program and add what reaches the constants to `gradient`."""
    first = tape.shape[0] - rule.code.shape[0]
    n_constants = rule.constants.shape[0]
    for row in range(rule.code.shape[0] - 1, -1, -1):
        op, a = rule.code[row, 0], rule.code[row, 1]
        b = second_operand(op, a, rule.code[row, 2])
        r = first + row
        if op == MUL:
            for i in range(n):
                adjoint = adjoints[r, i]
                adjoints[a, i] += adjoint * tape[b, i]
                adjoints[b, i] += adjoint * tape[a, i]
        elif op == ADD:
            for i in range(n):
                adjoint = adjoints[r, i]
                adjoints[a, i] += adjoint
                adjoints[b, i] += adjoint
        else:
            for i in range(n):
                slope_a, slope_b = slopes_of(op, tape[r, i], tape[a, i], tape[b, i], rule.code[row, 2])
                adjoints[a, i] += adjoints[r, i] * slope_a
                adjoints[b, i] += adjoints[r, i] * slope_b
    for c in range(n_constants):
        for i in range(n):
            gradient[c] += adjoints[first - n_constants + c, i]


@helper
def _coefficients(rule, y, tape, coefficients):
    """Coefficients (9, n_lanes) of all powers for the outputs `y` (n_lanes,)."""
    if rule.form == TABLE:
        for q in range(9):
            c, b, a = rule.table[0, q], rule.table[1, q], rule.table[2, q]
            for n in range(y.shape[0]):
                coefficients[q, n] = c + y[n] * (b + y[n] * a)
        return
    tape[0] = y
    _run(rule, tape, y.shape[0])
    for q in range(9):
        r = rule.outputs[q]
        if r >= 0:
            coefficients[q] = tape[r]


@helper
def _pull_coefficients(rule, step, y, layer, gradient, pull_y):
    """Add a batch's gradient, and to `pull_y` what reaches the outputs through the coefficients.

    The moments carry all that any parameter needs; the tape is that of :func:`_coefficients` for `y`.
    """
    moments, adjoints = layer.moments, layer.adjoints
    if rule.form == TABLE:
        for q in range(9):
            b, a = rule.table[1, q], 2.0 * rule.table[2, q]
            zeroth = first = second = 0.0
            for n in range(y.shape[0]):
                moment = step * moments[q, n]
                zeroth += moment
                first += moment * y[n]
                second += moment * y[n] * y[n]
                pull_y[n] += moment * (b + y[n] * a)
            gradient[q] += zeroth
            gradient[9 + q] += first
            gradient[18 + q] += second
        return
    adjoints[:] = 0.0
    for q in range(9):
        r = rule.outputs[q]
        if r >= 0:
            for n in range(y.shape[0]):
                adjoints[r, n] += step * moments[q, n]
    _pull(rule, layer.tape, adjoints, y.shape[0], gradient)
    pull_y += adjoints[0]


@helper
def _learn_quadratic(rule, source, picks, w, step, c, drive):
    """Change all weights by the sum over a batch, in place."""
    n_outputs, n_inputs = w.shape
    for k in range(n_outputs):
        n_synapses = _n_synapses(rule, k, n_inputs)
        drive[:] = 0.0
        constant = slope = 0.0
        for b in range(picks.shape[0]):
            s, n = picks[b], b * n_outputs + k
            if rule.is_linear:
                c10 = c[3, n]
                constant += c[0, n]
                slope += c[1, n]
                for i in range(n_synapses):
                    drive[0, i] += source[s, i] * c10
            else:
                c00, c01, c02, c10, c11 = c[0, n], c[1, n], c[2, n], c[3, n], c[4, n]
                c12, c20, c21, c22 = c[5, n], c[6, n], c[7, n], c[8, n]
                for i in range(n_synapses):
                    x = source[s, i]
                    drive[0, i] += c00 + x * (c10 + x * c20)
                    drive[1, i] += c01 + x * (c11 + x * c21)
                    drive[2, i] += c02 + x * (c12 + x * c22)
        for i in range(n_synapses):
            u = w[k, i]
            w[k, i] = u + step * (constant + drive[0, i] + u * (slope + drive[1, i] + u * drive[2, i]))


@helper
def _moments(rule, source, picks, w, adjoint, moments):
    """``sum_i adjoint_i x_i**m w_i**n`` for each power q that a rule's parameters need and each lane."""
    n_outputs, n_inputs = w.shape
    needs_all = rule.form == TABLE or not rule.is_linear
    for b in range(picks.shape[0]):
        s = picks[b]
        for k in range(n_outputs):
            n = b * n_outputs + k
            m00 = m01 = m02 = m10 = m11 = m12 = m20 = m21 = m22 = 0.0
            if needs_all:
                for i in range(_n_synapses(rule, k, n_inputs)):
                    x = source[s, i]
                    xx = x * x
                    a0 = adjoint[k, i]
                    a1 = a0 * w[k, i]
                    a2 = a1 * w[k, i]
                    m00 += a0
                    m01 += a1
                    m02 += a2
                    m10 += a0 * x
                    m11 += a1 * x
                    m12 += a2 * x
                    m20 += a0 * xx
                    m21 += a1 * xx
                    m22 += a2 * xx
            else:
                for i in range(_n_synapses(rule, k, n_inputs)):
                    m00 += adjoint[k, i]
                    m01 += adjoint[k, i] * w[k, i]
                    m10 += adjoint[k, i] * source[s, i]
            moments[0, n], moments[1, n], moments[2, n] = m00, m01, m02
            moments[3, n], moments[4, n], moments[5, n] = m10, m11, m12
            moments[6, n], moments[7, n], moments[8, n] = m20, m21, m22


@helper
def _pull_weights(rule, source, picks, w, step, c, drive, adjoint, pull_y):
    """Add what reaches a layer's weights and, in the lateral one, its inputs through the update itself."""
    n_outputs, n_inputs = w.shape
    for k in range(n_outputs):
        n_synapses = _n_synapses(rule, k, n_inputs)
        slope = 0.0
        drive[:2] = 0.0
        for b in range(picks.shape[0]):
            s, n = picks[b], b * n_outputs + k
            if rule.hierarchical:
                for j in range(k):
                    u = w[k, j]
                    linear = c[3, n] + u * (c[4, n] + u * c[5, n])
                    square = c[6, n] + u * (c[7, n] + u * c[8, n])
                    pull_y[b, j] += step * adjoint[k, j] * (linear + 2.0 * source[s, j] * square)
            if rule.is_linear:
                slope += c[1, n]
                continue
            c01, c11, c21 = c[1, n], c[4, n], c[7, n]
            c02, c12, c22 = 2.0 * c[2, n], 2.0 * c[5, n], 2.0 * c[8, n]
            for i in range(n_synapses):
                x = source[s, i]
                drive[0, i] += c01 + x * (c11 + x * c21)
                drive[1, i] += c02 + x * (c12 + x * c22)
        for i in range(n_synapses):
            adjoint[k, i] += step * (slope + drive[0, i] + w[k, i] * drive[1, i]) * adjoint[k, i]


@helper
def _run_synapses(rule, source, picks, w, y, k, tape):
    """Run a program for all synapses of output `k` and some samples, one sample after the other."""
    n_synapses = _n_synapses(rule, k, w.shape[1])
    for b in range(picks.shape[0]):
        for i in range(n_synapses):
            tape[PRE, b * n_synapses + i] = source[picks[b], i]
            tape[POST, b * n_synapses + i] = y[b, k]
            tape[WEIGHT, b * n_synapses + i] = w[k, i]
    _run(rule, tape, picks.shape[0] * n_synapses)


@helper
def _learn_interpreted(rule, source, picks, w, y, step, layer):
    at_once = layer.tape.shape[1] // w.shape[1]
    change = layer.drive[0]
    for k in range(w.shape[0]):
        n_synapses = _n_synapses(rule, k, w.shape[1])
        change[:] = 0.0
        for low in range(0, picks.shape[0], at_once):
            part = picks[low : low + at_once]
            _run_synapses(rule, source, part, w, y[low:], k, layer.tape)
            for b in range(part.shape[0]):
                for i in range(n_synapses):
                    change[i] += layer.tape[rule.outputs[0], b * n_synapses + i]
        for i in range(n_synapses):
            w[k, i] += step * change[i]


@helper
def _pull_interpreted(rule, source, picks, w, y, step, adjoint, gradient, pull_y, layer):
    at_once = layer.tape.shape[1] // w.shape[1]
    change, adjoints = layer.drive[0], layer.adjoints
    for k in range(w.shape[0]):
        n_synapses = _n_synapses(rule, k, w.shape[1])
        change[:] = 0.0
        for low in range(0, picks.shape[0], at_once):
            part = picks[low : low + at_once]
            _run_synapses(rule, source, part, w, y[low:], k, layer.tape)
            adjoints[:] = 0.0
            for b in range(part.shape[0]):
                for i in range(n_synapses):
                    adjoints[rule.outputs[0], b * n_synapses + i] = step * adjoint[k, i]
            _pull(rule, layer.tape, adjoints, part.shape[0] * n_synapses, gradient)
            for b in range(part.shape[0]):
                for i in range(n_synapses):
                    pull_y[low + b, k] += adjoints[POST, b * n_synapses + i]
                    change[i] += adjoints[WEIGHT, b * n_synapses + i]
                    if rule.hierarchical:
                        pull_y[low + b, i] += adjoints[PRE, b * n_synapses + i]
        for i in range(n_synapses):
            adjoint[k, i] += change[i]


@helper
def _outputs(samples, picks, w, v, first, y):
    n_outputs, n_inputs = w.shape
    for b in range(picks.shape[0]):
        s = picks[b]
        for k in range(n_outputs):
            total = 0.0
            for i in range(n_inputs):
                total += samples[s, i] * w[k, i]
            first[b, k] = total
        for k in range(n_outputs):
            total = first[b, k]
            for j in range(k):
                total += v[k, j] * first[b, j]
            y[b, k] = total


@helper
def _pull_outputs(samples, picks, v, first, pull_y, adjoint, lateral_adjoint):
    """Pull dL/dy of a batch back to both layers of weights; `pull_y` becomes dL/dy0."""
    n_outputs, n_inputs = adjoint.shape
    for b in range(picks.shape[0]):
        s = picks[b]
        for j in range(n_outputs):
            total = pull_y[b, j]
            for k in range(j + 1, n_outputs):
                lateral_adjoint[k, j] += first[b, j] * pull_y[b, k]
                total += v[k, j] * pull_y[b, k]
            pull_y[b, j] = total
            for i in range(n_inputs):
                adjoint[j, i] += total * samples[s, i]


@helper
def _learn(rule, source, picks, w, y, eta, layer):
    """Change the weights of one layer by the mean over a batch, in place."""
    step = eta / picks.shape[0]
    if rule.form == INTERPRETED:
        _learn_interpreted(rule, source, picks, w, y, step, layer)
    else:
        _coefficients(rule, y.reshape(y.size), layer.tape, layer.coefficients)
        _learn_quadratic(rule, source, picks, w, step, layer.coefficients, layer.drive)


@helper
def _pull_layer(rule, source, picks, w, y, eta, adjoint, gradient, pull_y, layer):
    """Pull `adjoint` = dL/dw of one layer back through its update; add to `gradient` and to `pull_y`."""
    step = eta / picks.shape[0]
    if rule.form == INTERPRETED:
        _pull_interpreted(rule, source, picks, w, y, step, adjoint, gradient, pull_y, layer)
        return
    c, flat = layer.coefficients, y.reshape(y.size)
    _coefficients(rule, flat, layer.tape, c)
    _moments(rule, source, picks, w, adjoint, layer.moments)
    _pull_coefficients(rule, step, flat, layer, gradient, pull_y.reshape(y.size))
    _pull_weights(rule, source, picks, w, step, c, layer.drive, adjoint, pull_y)


@helper
def _step(feedforward, lateral, course, samples, picks, rows, w, v, first, y, layer, lateral_layer):
    """One update of both layers from the mean over a batch, in place; `first` and `y` are filled."""
    _outputs(samples, picks, w, v, first, y)
    _learn(feedforward, samples, picks, w, y, course.eta, layer)
    if w.shape[0] > 1:
        _learn(lateral, y, rows, v, y, course.eta_lateral, lateral_layer)


@helper
def _square_norm(weights):
    flat = weights.reshape(weights.size)
    total = 0.0
    for n in range(flat.shape[0]):
        total += flat[n] * flat[n]
    return total


@helper
def _simulate_one(
    feedforward, lateral, course, samples, w, v, record, lateral_record, rows, first, y, layer, lateral_layer
):
    """Run one problem; return the number of steps after which it had blown up, or -1."""
    feedforward, layer = _uncounted(feedforward, layer)
    lateral, lateral_layer = _uncounted(lateral, lateral_layer)
    samples, w, v, order = borrowed(samples), borrowed(w), borrowed(v), borrowed(course.order)
    rows, first, y = borrowed(rows), borrowed(first), borrowed(y)
    for t in range(course.n_steps):
        if t % course.every == 0:
            record[t // course.every] = w
            lateral_record[t // course.every] = v
        picks = order[t % order.shape[0]]
        _step(feedforward, lateral, course, samples, picks, rows, w, v, first, y, layer, lateral_layer)
        if not _square_norm(w) + _square_norm(v) <= course.bound * course.bound:
            return t + 1
    return -1


@kernel
def simulate(
    feedforward, lateral, course, first_problem, last_problem, inputs, weights, lateral_weights, record,
    lateral_record, blow_up,
):  # fmt: skip
    """Run some problems for ``course.n_steps`` steps, in place.

    ``record[p, c]`` and ``lateral_record[p, c]`` receive the weights before step ``c * every``;
    ``blow_up[p]`` the number of steps after which all weights together had left the ball of radius `bound`,
    or -1. A problem that blew up stops there with zero weights, and its records stay as they are.
    """
    n_outputs, n_inputs = weights.shape[1:]
    batch = course.order.shape[1]
    rows = np.arange(batch)
    first, y = np.empty((batch, n_outputs)), np.empty((batch, n_outputs))
    layer = _layer(feedforward, batch, n_outputs, n_inputs)
    lateral_layer = _layer(lateral, batch, n_outputs, n_outputs)
    for p in range(first_problem, last_problem):
        blow_up[p] = _simulate_one(
            feedforward, lateral, course, inputs[p], weights[p], lateral_weights[p], record[p],
            lateral_record[p], rows, first, y, layer, lateral_layer,
        )  # fmt: skip
        if blow_up[p] >= 0:
            weights[p] = 0.0
            lateral_weights[p] = 0.0


class Path(NamedTuple):
    """Weights and outputs of the steps of one segment."""

    weights: np.ndarray  # (every, n_outputs, n_inputs)
    lateral: np.ndarray  # (every, n_outputs, n_outputs)
    first: np.ndarray  # (every, batch, n_outputs)
    outputs: np.ndarray  # (every, batch, n_outputs)


@helper
def _replay(feedforward, lateral, course, samples, start, stop, path, rows, layer, lateral_layer):
    """Run steps `start` to `stop` again from the first weights of `path`, and fill it."""
    order, last = course.order, stop - start - 1
    for s in range(last):
        path.weights[s + 1] = path.weights[s]
        path.lateral[s + 1] = path.lateral[s]
        _step(
            feedforward, lateral, course, samples, order[(start + s) % order.shape[0]], rows,
            path.weights[s + 1], path.lateral[s + 1], path.first[s], path.outputs[s], layer, lateral_layer,
        )  # fmt: skip
    _outputs(
        samples, order[(stop - 1) % order.shape[0]], path.weights[last], path.lateral[last],
        path.first[last], path.outputs[last],
    )  # fmt: skip


@helper
def _gradient_one(
    feedforward, lateral, course, samples, record, lateral_record, a, b, gradient, lateral_gradient, rows,
    pull_y, path, layer, lateral_layer,
):  # fmt: skip
    """Pull the adjoints `a` and `b` of one problem back through all its steps."""
    feedforward, layer = _uncounted(feedforward, layer)
    lateral, lateral_layer = _uncounted(lateral, lateral_layer)
    samples, a, b, rows, pull_y = (
        borrowed(samples),
        borrowed(a),
        borrowed(b),
        borrowed(rows),
        borrowed(pull_y),
    )
    gradient, lateral_gradient = borrowed(gradient), borrowed(lateral_gradient)
    path = Path(borrowed(path.weights), borrowed(path.lateral), borrowed(path.first), borrowed(path.outputs))
    order = borrowed(course.order)
    course = Course(order, course.eta, course.eta_lateral, course.n_steps, course.bound, course.every)
    for segment in range((course.n_steps - 1) // course.every, -1, -1):
        start = segment * course.every
        stop = min(start + course.every, course.n_steps)
        path.weights[0] = record[segment]
        path.lateral[0] = lateral_record[segment]
        _replay(feedforward, lateral, course, samples, start, stop, path, rows, layer, lateral_layer)
        for s in range(stop - start - 1, -1, -1):
            picks = order[(start + s) % order.shape[0]]
            w, v, y = path.weights[s], path.lateral[s], path.outputs[s]
            pull_y[:] = 0.0
            _pull_layer(feedforward, samples, picks, w, y, course.eta, a, gradient, pull_y, layer)
            if w.shape[0] > 1:
                _pull_layer(
                    lateral, y, rows, v, y, course.eta_lateral, b, lateral_gradient, pull_y, lateral_layer
                )
            _pull_outputs(samples, picks, v, path.first[s], pull_y, a, b)


@kernel
def gradient(
    feedforward, lateral, course, first_problem, last_problem, inputs, record, lateral_record, blow_up,
    adjoint, lateral_adjoint, result, lateral_result,
):  # fmt: skip
    """Gradients of the losses of some problems with respect to both rules, by reverse mode.

    Takes the records and ``blow_up`` from :func:`simulate`, and dL/dw of both layers at the end, which is
    replaced by that at the start. Segments of `every` steps are run again from their recorded start, last
    segment first, so that memory stays at one segment a thread. All is zero where the problem blew up.
    """
    n_outputs, n_inputs = adjoint.shape[1:]
    batch, every = course.order.shape[1], course.every
    rows = np.arange(batch)
    pull_y = np.empty((batch, n_outputs))
    path = Path(
        np.empty((every, n_outputs, n_inputs)), np.empty((every, n_outputs, n_outputs)),
        np.empty((every, batch, n_outputs)), np.empty((every, batch, n_outputs)),
    )  # fmt: skip
    layer = _layer(feedforward, batch, n_outputs, n_inputs)
    lateral_layer = _layer(lateral, batch, n_outputs, n_outputs)
    for p in range(first_problem, last_problem):
        result[p] = 0.0
        lateral_result[p] = 0.0
        if blow_up[p] >= 0:
            adjoint[p] = 0.0
            lateral_adjoint[p] = 0.0
        else:
            _gradient_one(
                feedforward, lateral, course, inputs[p], record[p], lateral_record[p], adjoint[p],
                lateral_adjoint[p], result[p], lateral_result[p], rows, pull_y, path, layer, lateral_layer,
            )  # fmt: skip
