"""Published rules of spiking synapses.

Weights of rules with an upper bound are in the units of the feed-forward circuit of balance, where that bound
is 10. The constants of the traces are part of a rule.
"""

from __future__ import annotations

from discover._known_rule import KnownRule

__all__ = ["SPIKING_RULES"]

SPIKING_RULES = (
    KnownRule(
        name="vogels",
        title="Vogels et al. (2011)",
        formula="dw = eta * (x_post - alpha) at a presynaptic spike, eta * x_pre at a postsynaptic one; "
        "alpha = 2 * rho0 * tau",
        expressions={"on_pre": "x_post - 0.25", "on_post": "x_pre", "tau_pre": "20", "tau_post": "20"},
        constants={"alpha": 0.25, "rho0_hz": 6.25, "tau_ms": 20.0},
        citation="Vogels TP, Sprekeler H, Zenke F, Clopath C, Gerstner W (2011). Inhibitory plasticity "
        "balances excitation and inhibition in sensory pathways and memory networks. Science "
        "334:1569-1573.",
        doi="10.1126/science.1211095",
        year=2011,
        note="For inhibitory synapses. alpha sets the target rate rho0 of the postsynaptic neuron.",
    ),
    KnownRule(
        name="stdp-additive",
        title="Song, Miller and Abbott (2000), additive STDP",
        formula="dw = A_plus * exp(-dt/tau) for a presynaptic spike dt before a postsynaptic one, "
        "-A_minus * exp(dt/tau) for the other order",
        expressions={"on_pre": "-1.05*x_post", "on_post": "x_pre", "tau_pre": "20", "tau_post": "20"},
        constants={"A_minus/A_plus": 1.05, "tau_ms": 20.0},
        citation="Song S, Miller KD, Abbott LF (2000). Competitive Hebbian learning through "
        "spike-timing-dependent synaptic plasticity. Nature Neuroscience 3:919-926.",
        doi="10.1038/78829",
        year=2000,
        note="Published for excitatory synapses; weights compete for the postsynaptic spikes.",
    ),
    KnownRule(
        name="stdp-guetig",
        title="Guetig et al. (2003), non-linear STDP",
        formula="dw = lambda * (1 - w)**mu * exp(-dt/tau) for pre before post, "
        "-lambda * alpha * w**mu * exp(dt/tau) for the other order",
        expressions={
            "on_pre": "-1.05*(w/10)**0.02*x_post",
            "on_post": "abs(1 - w/10)**0.02*x_pre",
            "tau_pre": "20",
            "tau_post": "20",
        },
        constants={"alpha": 1.05, "mu": 0.02, "largest_weight": 10.0, "tau_ms": 20.0},
        citation="Guetig R, Aharonov R, Rotter S, Sompolinsky H (2003). Learning input correlations through "
        "nonlinear temporally asymmetric Hebbian plasticity. Journal of Neuroscience 23:3697-3714.",
        doi="10.1523/JNEUROSCI.23-09-03697.2003",
        year=2003,
        note="mu leads from additive (0) to multiplicative (1) rules; the value here is one that is nearly "
        "additive, as most of the paper's figures are.",
    ),
    KnownRule(
        name="stdp-power-law",
        title="Morrison, Aertsen and Diesmann (2007), power-law STDP",
        formula="dw = lambda * w0**(1 - mu) * w**mu * exp(-dt/tau) for pre before post, "
        "-lambda * alpha * w * exp(dt/tau) for the other order",
        expressions={
            "on_pre": "-0.11*w*x_post",
            "on_post": "w**0.4*x_pre",
            "tau_pre": "20",
            "tau_post": "20",
        },
        constants={"alpha": 0.11, "mu": 0.4, "w0": 1.0, "tau_ms": 20.0},
        citation="Morrison A, Aertsen A, Diesmann M (2007). Spike-timing-dependent plasticity in balanced "
        "random networks. Neural Computation 19:1437-1467.",
        doi="10.1162/neco.2007.19.6.1437",
        year=2007,
        note="Published for excitatory synapses, with w0 = 1 pA.",
    ),
    KnownRule(
        name="stdp-multiplicative",
        title="van Rossum, Bi and Turrigiano (2000), multiplicative depression",
        formula="dw = c_p * exp(-dt/tau) for pre before post, -c_d * w * exp(dt/tau) for the other order; "
        "weights are scaled slowly towards an average activity",
        expressions={"on_pre": "-w*x_post", "on_post": "x_pre", "tau_pre": "20", "tau_post": "20"},
        needs="a running mean of the postsynaptic activity, for the scaling",
        constants={"c_d/c_p": 1.0, "tau_ms": 20.0},
        citation="van Rossum MCW, Bi GQ, Turrigiano GG (2000). Stable Hebbian learning from spike "
        "timing-dependent plasticity. Journal of Neuroscience 20:8812-8821.",
        doi="10.1523/JNEUROSCI.20-23-08812.2000",
        year=2000,
        note="The expressions are the spike-timing part, with weights in units of c_p / c_d.",
    ),
    KnownRule(
        name="stdp-inhibitory",
        title="Luz and Shamir (2012), Hebbian inhibitory STDP",
        formula="dw = lambda * (1 - w)**mu * exp(-dt/tau) for pre before post, "
        "-lambda * alpha * w**mu * exp(dt/tau) for the other order, at inhibitory synapses",
        expressions={
            "on_pre": "-(w/10)**0.01*x_post",
            "on_post": "abs(1 - w/10)**0.01*x_pre",
            "tau_pre": "20",
            "tau_post": "20",
        },
        constants={"alpha": 1.0, "mu": 0.01, "largest_weight": 10.0, "tau_ms": 20.0},
        citation="Luz Y, Shamir M (2012). Balancing feed-forward excitation and inhibition via Hebbian "
        "inhibitory synaptic plasticity. PLoS Computational Biology 8:e1002334.",
        doi="10.1371/journal.pcbi.1002334",
        year=2012,
        note="The window is antisymmetric; alpha, mu and the time constants are chosen within the family.",
    ),
    KnownRule(
        name="stdp-triplet",
        title="Pfister and Gerstner (2006), minimal triplet rule",
        formula="dw = A3 * x_pre * o2 at a postsynaptic spike, -A2 * x_post at a presynaptic one; o2 is a "
        "slow trace of postsynaptic spikes, tau_y = 114 ms",
        expressions={
            "pre_spike": "-0.0071*x_post",
            "post_spike": "0.0065*x_pre*slow_post",
            "tau_pre": "16.8",
            "tau_post": "33.7",
            "tau_slow_post": "114",
        },
        constants={"A3": 6.5e-3, "A2": 7.1e-3, "tau_plus_ms": 16.8, "tau_minus_ms": 33.7, "tau_y_ms": 114.0},
        citation="Pfister JP, Gerstner W (2006). Triplets of spikes in a model of spike timing-dependent "
        "plasticity. Journal of Neuroscience 26:9673-9682.",
        doi="10.1523/JNEUROSCI.1425-06.2006",
        year=2006,
        note="The minimal model, all spikes counted, with the constants of the data from visual cortex.",
    ),
    KnownRule(
        name="stdp-triplet-full",
        title="Pfister and Gerstner (2006), full triplet rule",
        formula="dw = x_pre * (A2_plus + A3_plus * o2) at a postsynaptic spike, -x_post * (A2_minus + "
        "A3_minus * r2) at a presynaptic one; r2 and o2 are slow traces of both kinds of spikes",
        expressions={
            "pre_spike": "-0.007*x_post - 0.00023*slow_pre*x_post",
            "post_spike": "7.5e-10*x_pre + 0.0093*x_pre*slow_post",
            "tau_pre": "16.8",
            "tau_post": "33.7",
            "tau_slow_pre": "101",
            "tau_slow_post": "125",
        },
        constants={"A2_plus": 7.5e-10, "A3_plus": 9.3e-3, "A2_minus": 7e-3, "A3_minus": 2.3e-4},
        citation="Pfister JP, Gerstner W (2006). Triplets of spikes in a model of spike timing-dependent "
        "plasticity. Journal of Neuroscience 26:9673-9682.",
        doi="10.1523/JNEUROSCI.1425-06.2006",
        year=2006,
        note="All spikes counted; the constants are those that NESTML has for visual cortex.",
    ),
    KnownRule(
        name="stdp-suppression",
        title="Froemke and Dan (2002), suppression model",
        formula="dw = e_pre * e_post * F(dt) for every pair of spikes; the efficacy of a spike is e = 1 - "
        "exp(-T/tau_s), with the time T since the same neuron's last spike",
        expressions={},
        needs="the time since the last spike of either neuron",
        constants={"tau_s_pre_ms": 34.0, "tau_s_post_ms": 75.0},
        citation="Froemke RC, Dan Y (2002). Spike-timing-dependent synaptic modification induced by natural "
        "spike trains. Nature 416:433-438.",
        doi="10.1038/416433a",
        year=2002,
        note="As CSIM and BrainGrid implement it, with their time constants; F is the window of pairs.",
    ),
    KnownRule(
        name="confavreux-quartet",
        title="Confavreux et al. (2025), quartet f19bec85",
        formula="dw = eta * (alpha + kappa * x_post) at a presynaptic spike, eta * (beta + gamma * x_pre) at "
        "a postsynaptic one, with parameters of their own in the projections EE, EI (from E onto I), IE and "
        "II",
        expressions={
            "EE.on_pre": "1.56211138 - 1.10496151*x_post",
            "EE.on_post": "0.3778016*x_pre - 1.8362025",
            "EE.tau_pre": "39.47454",
            "EE.tau_post": "83.33279",
            "EI.on_pre": "0.60514206 - 0.92477429*x_post",
            "EI.on_post": "1.11860669*x_pre - 0.82029539",
            "EI.tau_pre": "77.77745",
            "EI.tau_post": "91.57054",
            "IE.on_pre": "-1.27739811 - 1.39219487*x_post",
            "IE.on_post": "1.04156876*x_pre + 1.18037236",
            "IE.tau_pre": "95.20964",
            "IE.tau_post": "46.04627",
            "II.on_pre": "1.92275465*x_post - 1.15393496",
            "II.on_post": "0.75430721*x_pre + 0.75379592",
            "II.tau_pre": "26.58731",
            "II.tau_post": "77.39804",
        },
        citation="Confavreux B et al. (2025). Memory by a thousand rules. bioRxiv 2025.05.28.656584.",
        doi="10.1101/2025.05.28.656584",
        year=2025,
        note="For a recurrent network in which all four projections learn; published as stable, with a "
        "preference for novel stimuli that lasts for minutes.",
    ),
    KnownRule(
        name="vogels-ie",
        title="Vogels et al. (2011), from inhibitory to excitatory neurons alone",
        formula="dw = eta * (x_post - alpha) at a presynaptic spike, eta * x_pre at a postsynaptic one, in "
        "the projection IE; alpha = 2 * rho0 * tau",
        expressions={
            "IE.on_pre": "x_post - 0.12",
            "IE.on_post": "x_pre",
            "IE.tau_pre": "20",
            "IE.tau_post": "20",
        },
        constants={"alpha": 0.12, "rho0_hz": 3.0, "tau_ms": 20.0},
        citation="Vogels TP, Sprekeler H, Zenke F, Clopath C, Gerstner W (2011). Inhibitory plasticity "
        "balances excitation and inhibition in sensory pathways and memory networks. Science "
        "334:1569-1573.",
        doi="10.1126/science.1211095",
        year=2011,
        note="For a recurrent network; all other projections keep their weights.",
    ),
    KnownRule(
        name="stdp-ee-vogels-ie",
        title="Song, Miller and Abbott (2000) between excitatory neurons, with Vogels et al. (2011)",
        formula="dw = A_plus * exp(-dt/tau) for pre before post, -A_minus * exp(dt/tau) for the other order, "
        "in the projection EE; the rule of Vogels et al. in IE",
        expressions={
            "EE.on_pre": "-0.105*x_post",
            "EE.on_post": "0.1*x_pre",
            "EE.tau_pre": "20",
            "EE.tau_post": "20",
            "IE.on_pre": "x_post - 0.12",
            "IE.on_post": "x_pre",
            "IE.tau_pre": "20",
            "IE.tau_post": "20",
        },
        constants={"A_minus/A_plus": 1.05, "alpha": 0.12, "rho0_hz": 3.0, "tau_ms": 20.0},
        citation="Song S, Miller KD, Abbott LF (2000). Competitive Hebbian learning through "
        "spike-timing-dependent synaptic plasticity. Nature Neuroscience 3:919-926.",
        doi="10.1038/78829",
        year=2000,
        note="Excitatory synapses, whose weights are a tenth of the inhibitory ones here, learn ten times "
        "more slowly.",
    ),
    KnownRule(
        name="urbanczik-senn",
        title="Urbanczik and Senn: reward less one, times eligibility",
        formula="dw = eta * (R - 1) * E",
        expressions={"reward": "(R - 1)*E"},
        citation="Urbanczik R, Senn W (2009). Reinforcement learning in populations of spiking neurons. "
        "Nature Neuroscience 12:250-252.",
        doi="10.1038/nn.2264",
        year=2009,
        note="For a single neuron, whose own reward is that of the population; it learns from errors alone.",
    ),
    KnownRule(
        name="reinforce-spiking",
        title="REINFORCE of a spiking neuron",
        formula="dw = eta * R * E",
        expressions={"reward": "R*E"},
        citation="Williams RJ (1992). Simple statistical gradient-following algorithms for connectionist "
        "reinforcement learning. Machine Learning 8:229-256.",
        doi="10.1007/BF00992696",
        year=1992,
    ),
    KnownRule(
        name="reinforce-spiking-baseline",
        title="REINFORCE of a spiking neuron, with the mean reward for a baseline",
        formula="dw = eta * (R - Rbar) * E",
        expressions={"reward": "(R - Rbar)*E"},
        citation="Williams RJ (1992). Simple statistical gradient-following algorithms for connectionist "
        "reinforcement learning. Machine Learning 8:229-256.",
        doi="10.1007/BF00992696",
        year=1992,
        note="Rbar is the running mean of the reward (reinforcement comparison).",
    ),
    KnownRule(
        name="evolved-reward-1",
        title="Jordan et al., first longer form",
        formula="dw = eta * (1 + R * Rbar) * (R - 1) * E",
        expressions={"reward": "(1 + R*Rbar)*(R - 1)*E"},
        citation="Jordan J, Schmidt M, Senn W, Petrovici MA (2021). Evolving interpretable plasticity for "
        "spiking networks. eLife 10:e66273.",
        doi="10.7554/eLife.66273",
        year=2021,
        note="Found by evolution; its first form, (R - 1) * E, is that of Urbanczik and Senn.",
    ),
    KnownRule(
        name="evolved-reward-2",
        title="Jordan et al., second longer form",
        formula="dw = eta * (R - (Rpos - Rneg)) * E",
        expressions={"reward": "(R - 2*Rpos + Rbar)*E"},
        citation="Jordan J, Schmidt M, Senn W, Petrovici MA (2021). Evolving interpretable plasticity for "
        "spiking networks. eLife 10:e66273.",
        doi="10.7554/eLife.66273",
        year=2021,
        note="Found by evolution. Rpos and Rneg are running means of the positive and the negative part of "
        "the reward. Rneg is negative, so that Rpos - Rneg is the mean size of the reward: it begins at zero "
        "and goes to 1.",
    ),
    KnownRule(
        name="evolved-reward-3",
        title="Jordan et al., the form with the largest reward",
        formula="dw = eta * (R - (Rpos - Rneg)) * E / (1 + Rpos)",
        expressions={"reward": "(R - 2*Rpos + Rbar)*E/(1 + Rpos)"},
        citation="Jordan J, Schmidt M, Senn W, Petrovici MA (2021). Evolving interpretable plasticity for "
        "spiking networks. eLife 10:e66273.",
        doi="10.7554/eLife.66273",
        year=2021,
        note="Found by evolution; Rneg is negative, as in the second form.",
    ),
)
