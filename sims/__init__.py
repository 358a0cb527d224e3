"""Numba simulators: what happens to a network's synapses under a plasticity rule."""
