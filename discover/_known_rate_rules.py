"""Published rules of rate neurons."""

from __future__ import annotations

from discover._known_rule import KnownRule

__all__ = ["RATE_RULES"]

RATE_RULES = (
    KnownRule(
        name="hebb",
        title="Hebb",
        formula="dw = eta * x * y",
        expressions={"feedforward": "x*y"},
        citation="Hebb DO (1949). The Organization of Behavior. Wiley, New York.",
        doi="",
        year=1949,
        note="Hebb gave no formula; the product of activities is its usual reading. Weights grow forever.",
    ),
    KnownRule(
        name="oja",
        title="Oja (1982)",
        formula="dw = eta * y * (x - w*y)",
        expressions={"feedforward": "x*y - w*y**2"},
        citation="Oja E (1982). Simplified neuron model as a principal component analyzer. "
        "Journal of Mathematical Biology 15:267-273.",
        doi="10.1007/BF00275687",
        year=1982,
    ),
    KnownRule(
        name="oja-minor",
        title="Oja, minor component",
        formula="w <- w - eta * x * y,  w <- w / |w|",
        expressions={"feedforward": "-x*y + 0.5*w - 4*w*y**2"},
        constants={"smallest_variance": 0.1},
        citation="Oja E (1992). Principal components, minor components, and linear neural networks. "
        "Neural Networks 5:927-935.",
        doi="",
        year=1992,
        note="The expression has growth held back by the output in place of the division by |w|: with "
        "c*w - k*w*y**2 the weights end at |w|**2 = (c - v)/(k*v), where v is the smallest variance of the "
        "inputs. Here c = 0.5 and k = 4, for unit norm at v = 0.1.",
    ),
    KnownRule(
        name="covariance",
        title="Covariance rule",
        formula="dw = eta * (x - <x>) * (y - <y>)",
        expressions={"feedforward": "x*y"},
        needs="running means <x> and <y>",
        constants={"mean_x": 0.0, "mean_y": 0.0},
        citation="Sejnowski TJ (1977). Storing covariance with nonlinearly interacting neurons. "
        "Journal of Mathematical Biology 4:303-321.",
        doi="10.1007/BF00275079",
        year=1977,
        note="With inputs of zero mean both means are zero, and the rule is Hebb's: that is the expression.",
    ),
    KnownRule(
        name="bcm",
        title="Bienenstock-Cooper-Munro, threshold held fixed",
        formula="dw = eta * x * y * (y - theta),  tau * dtheta/dt = y**2 - theta",
        expressions={"feedforward": "x*y**2 - x*y"},
        needs="a sliding threshold theta for each neuron",
        constants={"theta": 1.0},
        citation="Bienenstock EL, Cooper LN, Munro PW (1982). Theory for the development of neuron "
        "selectivity: orientation specificity and binocular interaction in visual cortex. "
        "Journal of Neuroscience 2:32-48.",
        doi="10.1523/JNEUROSCI.02-01-00032.1982",
        year=1982,
        note="The expression has the threshold fixed at theta = 1; without sliding it is not stable.",
    ),
    KnownRule(
        name="bcm-sliding",
        title="Bienenstock-Cooper-Munro",
        formula="dw = eta * x * y * (y - theta),  tau * dtheta/dt = y**2 - theta",
        expressions={"sliding": "x*y**2 - x*y*theta"},
        citation="Bienenstock EL, Cooper LN, Munro PW (1982). Theory for the development of neuron "
        "selectivity: orientation specificity and binocular interaction in visual cortex. "
        "Journal of Neuroscience 2:32-48.",
        doi="10.1523/JNEUROSCI.02-01-00032.1982",
        year=1982,
        note="The form with the mean square as threshold is that of Intrator and Cooper (1992).",
    ),
    KnownRule(
        name="sanger",
        title="Sanger's generalized Hebbian algorithm",
        formula="dw_ij = eta * y_j * (x_i - sum over k <= j of w_ik * y_k)",
        expressions={},
        needs="the outputs and weights of all neurons before this one",
        is_local=False,
        citation="Sanger TD (1989). Optimal unsupervised learning in a single-layer linear feedforward "
        "neural network. Neural Networks 2:459-473.",
        doi="10.1016/0893-6080(89)90044-0",
        year=1989,
        note="For the first neuron, and so for a single one, it is Oja's rule.",
    ),
    KnownRule(
        name="oja-subspace",
        title="Oja's subspace rule",
        formula="dw_ij = eta * y_j * (x_i - sum over all k of w_ik * y_k)",
        expressions={},
        needs="the outputs and weights of all neurons",
        is_local=False,
        citation="Oja E (1989). Neural networks, principal components, and subspaces. "
        "International Journal of Neural Systems 1:61-68.",
        doi="",
        year=1989,
        note="For a single neuron it is Oja's rule. Finds the subspace, not the components.",
    ),
    KnownRule(
        name="rubner-tavan",
        title="Rubner and Tavan: Hebbian inputs, hierarchical anti-Hebbian lateral weights",
        formula="dw = eta * y * (x - w*y),  dv = -mu * y_pre * y_post  (from earlier to later neurons)",
        expressions={"feedforward": "x*y - w*y**2", "lateral": "-y_pre*y_post"},
        citation="Rubner J, Tavan P (1989). A self-organizing network for principal-component analysis. "
        "Europhysics Letters 10:693-698.",
        doi="",
        year=1989,
        note="Published with weight vectors normalised after each step; Oja's term does so to first order.",
    ),
    KnownRule(
        name="homeostatic-decorrelation",
        title="Homeostatic scaling with anti-Hebbian decorrelation",
        formula="dw = eta * w * (1 - y**2),  dv = -mu * y_pre * y_post  (from earlier to later neurons)",
        expressions={"feedforward": "w - w*y**2", "lateral": "-y_pre*y_post"},
        citation="Barlow HB, Foldiak P (1989). Adaptation and decorrelation in the cortex. In: The Computing "
        "Neuron (Durbin R, Miall C, Mitchison G, eds), pp 54-72. Addison-Wesley.",
        doi="",
        year=1989,
        note="The lateral rule is theirs, in a hierarchical network; multiplicative scaling, by which each "
        "neuron holds its mean square at one, was put beside it for this program.",
    ),
    KnownRule(
        name="foldiak",
        title="Foldiak: Hebbian inputs, symmetric anti-Hebbian lateral weights",
        formula="dq = beta * y * (x - q),  dv = -alpha * (y_pre*y_post - p**2),  dt = gamma * (y - p)",
        expressions={"feedforward": "x*y - w*y", "lateral": "0.015625 - y_pre*y_post"},
        needs="a threshold t for each neuron and binary outputs of a settled network",
        constants={"p": 0.125},
        citation="Foldiak P (1990). Forming sparse representations by local anti-Hebbian learning. "
        "Biological Cybernetics 64:165-170.",
        doi="10.1007/BF02331346",
        year=1990,
        note="The expressions are the two weight updates with p = 1/8, without thresholds; v stays <= 0.",
    ),
    KnownRule(
        name="foldiak-linear",
        title="Foldiak, linear: Oja inputs, symmetric anti-Hebbian lateral weights",
        formula="dw = eta * y * (x - w*y),  dv = -alpha * y_pre * y_post  (both ways between neurons)",
        expressions={"feedforward": "x*y - w*y**2", "lateral": "-y_pre*y_post"},
        needs="lateral weights in both directions, through which the outputs settle at y = W x + V y",
        citation="Foldiak P (1989). Adaptive network for optimal linear feature extraction. Proceedings of "
        "the International Joint Conference on Neural Networks 1:401-405.",
        doi="",
        year=1989,
        note="The expressions are those of Rubner and Tavan; the network that they belong to is not "
        "hierarchical, and finds the subspace with uncorrelated outputs.",
    ),
    KnownRule(
        name="hyvarinen-oja",
        title="Hyvarinen and Oja, non-linear Hebbian with tanh",
        formula="w <- w + eta * sigma * x * g(y),  w <- w / |w|;  sigma = +1 or -1 by the sources' kurtosis",
        expressions={"feedforward": "x*tanh(y) - w*y*tanh(y)"},
        constants={"sigma": 1.0},
        citation="Hyvarinen A, Oja E (1998). Independent component analysis by general nonlinear "
        "Hebbian-like learning rules. Signal Processing 64:301-313.",
        doi="",
        year=1998,
        note="The expression is g = tanh, sigma = +1, with the division by |w| to first order in eta at "
        "|w| = 1; so written it is unstable for sigma = -1. Published for whitened inputs.",
    ),
    KnownRule(
        name="hyvarinen-oja-heavy",
        title="Hyvarinen and Oja, for heavy tails",
        formula="w <- w + eta * sigma * x * g(y),  w <- w / |w|;  sigma = -1 for sources with heavy tails",
        expressions={"feedforward": "-x*tanh(y) + w*y*tanh(y) + 2*w - 2*w*y**2"},
        constants={"sigma": -1.0},
        citation="Hyvarinen A, Oja E (1998). Independent component analysis by general nonlinear "
        "Hebbian-like learning rules. Signal Processing 64:301-313.",
        doi="",
        year=1998,
        note="The expression is g = tanh, sigma = -1, with the division by |w| to first order in eta at "
        "|w| = 1, which is not stable by itself for this sign; for whitened inputs, where y**2 is |w|**2 in "
        "the mean, 2*w*(1 - y**2) brings the norm back to one.",
    ),
    KnownRule(
        name="similarity-matching",
        title="Online similarity matching",
        formula="y = M^-1 W x,  dW = 2 * eta * (y * x - W),  dM = eta/tau * (y_pre * y_post - M)",
        expressions={"feedforward": "x*y - w", "lateral": "y_pre*y_post - v"},
        needs="lateral weights M through which the outputs settle at y = M^-1 W x",
        constants={"tau": 0.5},
        citation="Pehlevan C, Sengupta AM, Chklovskii DB (2018). Why do similarity matching objectives lead "
        "to Hebbian/anti-Hebbian networks? Neural Computation 30:84-124.",
        doi="10.1162/neco_a_01018",
        year=2018,
        note="The expressions are the updates of W (w) and M (v) at tau = 1/2, each divided by 2 eta; the "
        "network that they belong to inhibits through M.",
    ),
    KnownRule(
        name="delta-rule",
        title="Delta rule, of a neuron that sees its teacher's potential",
        formula="dw = eta * (v - u) * s",
        expressions={"error": "s*v - s*u"},
        citation="Widrow B, Hoff ME (1960). Adaptive switching circuits. IRE WESCON Convention Record "
        "4:96-104.",
        doi="",
        year=1960,
        note="For a potential u = sum of w*s it is the gradient of the squared error. Urbanczik and Senn "
        "(2014, Neuron 81:521) have a spiking neuron learn by it from a potential of its soma, and Jordan et "
        "al. (2021, eLife 10:66273) found it by evolution.",
    ),
    KnownRule(
        name="sign-error",
        title="Delta rule that sees the sign of the error alone",
        formula="dw = eta * sign(v - u) * s",
        expressions={"error": "sign(v - u)*s"},
        citation="Gersho A (1984). Adaptive filtering with binary reinforcement. IEEE Transactions on "
        "Information Theory 30:191-199.",
        doi="",
        year=1984,
        note="Follows the gradient of the absolute error, in steps that do not become smaller.",
    ),
    KnownRule(
        name="hebb-teacher",
        title="Hebb with decay, the teacher's potential in place of the own one",
        formula="dw = eta * (v * s - c * w)",
        expressions={"error": "s*v - 0.3*w"},
        constants={"c": 0.3},
        citation="Hebb DO (1949). The Organization of Behavior. Wiley, New York.",
        doi="",
        year=1949,
        note="Associates inputs with the answer that is wanted, whatever the own answer is.",
    ),
    KnownRule(
        name="rescorla-wagner",
        title="Rescorla and Wagner",
        formula="dw = eta * x * (R - w)",
        expressions={"choice": "R*x - w*x"},
        citation="Rescorla RA, Wagner AR (1972). A theory of Pavlovian conditioning: variations in the "
        "effectiveness of reinforcement and nonreinforcement. In: Classical Conditioning II (Black AH, "
        "Prokasy WF, eds), pp 64-99. Appleton-Century-Crofts, New York.",
        doi="",
        year=1972,
        note="Of one option at a time: the weight of the option chosen follows its reward.",
    ),
    KnownRule(
        name="q-forgetting",
        title="Rescorla and Wagner, with forgetting of options that are not chosen",
        formula="dw = eta * (x * R - w)",
        expressions={"choice": "R*x - w"},
        citation="Ito M, Doya K (2009). Validation of decision-making models and analysis of decision "
        "variables in the rat basal ganglia. Journal of Neuroscience 29:9861-9874.",
        doi="",
        year=2009,
        note="With one rate for learning and forgetting; theirs has two.",
    ),
    KnownRule(
        name="reinforce",
        title="REINFORCE",
        formula="dw = eta * R * (x - y)",
        expressions={"choice": "R*x - R*y"},
        citation="Williams RJ (1992). Simple statistical gradient-following algorithms for connectionist "
        "reinforcement learning. Machine Learning 8:229-256.",
        doi="10.1007/BF00992696",
        year=1992,
        note="x - y is the derivative of the logarithm of the choice's probability, but for the sharpness of "
        "the softmax.",
    ),
    KnownRule(
        name="reinforce-baseline",
        title="REINFORCE with the mean reward for a baseline",
        formula="dw = eta * (R - m) * (x - y)",
        expressions={"choice": "(R - m)*(x - y)"},
        citation="Williams RJ (1992). Simple statistical gradient-following algorithms for connectionist "
        "reinforcement learning. Machine Learning 8:229-256.",
        doi="10.1007/BF00992696",
        year=1992,
        note="m is the running mean of the reward (reinforcement comparison).",
    ),
    KnownRule(
        name="covariance-reward",
        title="Covariance of reward and activity",
        formula="dw = eta * (R - <R>) * x",
        expressions={"choice": "(R - m)*x"},
        citation="Loewenstein Y, Seung HS (2006). Operant matching is a generic outcome of synaptic "
        "plasticity based on the covariance between reward and neural activity. Proceedings of the National "
        "Academy of Sciences 103:15224-15229.",
        doi="10.1073/pnas.0505220103",
        year=2006,
        note="The mean of the reward alone is subtracted, of which they show that it is enough.",
    ),
)
