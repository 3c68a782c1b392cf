"""Published behaviour of optimizers: problems, settings and the numbers that the papers state for
them.

No number here comes from a program: each is in the paper named, or follows from it by the algebra
written next to it.
"""

import numpy as np

# --- Convergence rates on quadratics with all eigenvalues in [mu, L] ------------------------------


def heavy_ball_tuning(mu, L):
    """(learning_rate, momentum, rate) of the fastest heavy ball (Polyak 1964; Lessard et al. 2016,
    Proposition 1).
    """
    # The rate is the largest modulus of a root over [mu, L]. At both ends two roots meet, hence t *
    # rate^t, not rate^t.
    k = L / mu
    learning_rate = 4 / (np.sqrt(L) + np.sqrt(mu)) ** 2
    rate = (np.sqrt(k) - 1) / (np.sqrt(k) + 1)
    return learning_rate, rate**2, rate


def nesterov_tuning(mu, L):
    """(learning_rate, momentum, rate) of Nesterov's method, constant momentum (Lessard et al. 2016,
    Proposition 1).
    """
    # At mu two roots meet here too. sqrt(1 - 1 / sqrt(k)), often quoted, is the rate for all
    # strongly convex functions.
    k = L / mu
    return 1 / L, (np.sqrt(k) - 1) / (np.sqrt(k) + 1), 1 - 1 / np.sqrt(k)


# --- Heavy ball in a cycle (Lessard, Recht & Packard 2016, section 4.6) ---------------------------

CYCLE_LEARNING_RATE = 1 / 9  # heavy_ball_tuning(1, 25)
CYCLE_MOMENTUM = 4 / 9
# From every start in this interval (and an empty accumulator) the iterates go to the cycle, not to
# the minimum at 0.
CYCLE_STARTS = (3.07, 3.46)
# x_next = (1 + 4/9) x - 4/9 x_before - f'(x) / 9 is -12/9 x - 4/9 x_before below 1, and 24/9 more
# than that above 2. So the cycle p, q < 1 and r > 2, in this order, solves three linear equations:
# q = -12/9 p - 4/9 r,   r = -12/9 q - 4/9 p,   p = -12/9 r - 4/9 q + 24/9.
CYCLE = (792 / 1225, -2208 / 1225, 2592 / 1225)


def cycle_gradient(x):
    """f' of the strongly convex f with 1 <= f'' <= 25 (Lessard et al. 2016, section 4.6)."""
    if x < 1:
        return 25 * x
    if x < 2:
        return x + 24
    return 25 * x - 24


# --- Adam that goes to the worst point (Reddi, Kale & Kumar 2018, Theorem 1) ----------------------


def online_gradient(t, C):
    """Gradient of f_t(x) = C x if t mod 3 = 1, else -x, on [-1, 1], t = 1, 2, ... (Reddi et al.
    2018, section 3).
    """
    return C if t % 3 == 1 else -1.0


def online_settings(C):
    """(b1, b2, limit of alpha) of Theorem 1, for C > 2 and the step sizes alpha / sqrt(t) (Reddi et
    al. 2018).
    """
    # eps = 0, and every iterate is clipped to [-1, 1].
    b2 = 1 / (1 + C**2)
    return 0.0, b2, np.sqrt(1 - b2)


# A period of three steps adds (C - 2) x to the loss, so -1 is best. Adam started at 1 is back at
# exactly 1 after every period, where it loses C, and at least -1 in the two other steps: at least 2
# C - 4 more than at -1. Any other start ends there too. The paper's Adam has no bias correction; 1
# - b2^t is so near to 1 that it changes nothing of this.
ONLINE_BEST = -1.0
ONLINE_ADAM = 1.0
# With AMSGrad's maximum all gradients are divided by the same number in the end; their sum is
# positive: x goes to -1, and is there after every step on C x, once it has arrived.
ONLINE_AMSGRAD = -1.0


def online_regret_per_period(C):
    """Lower bound of Adam's regret in three steps (Reddi et al. 2018, proof of Theorem 1)."""
    return 2 * C - 4


# --- Adaptive methods that only see signs (Wilson et al. 2017, section 3.3) -----------------------


def sign_data(y):
    """(X, c) with X sign(X^T y) = c y for labels y of +1 and -1, more of them +1 (Wilson et al.
    2017, section 3.3).
    """
    # Feature 1 is the label, 2 and 3 are always 1, and then every example has features of its own:
    # one if its label is 1 and five if it is -1. (The paper keeps five columns for everyone. Those
    # that are always 0 are left out, since eps = 0 makes 0 / 0 of them.) X^T y is n, sum(y), sum(y)
    # and then the label of the owner, so the product of an example with its sign is y + 2 + 1 or y
    # + 2 - 5, that is 4 y.
    y = np.asarray(y, dtype=np.float64)
    own = []
    for i, label in enumerate(y):
        for _ in range(1 if label > 0 else 5):
            own.append(np.arange(len(y)) == i)
    X = np.column_stack([y, np.ones_like(y), np.ones_like(y), *own]).astype(np.float64)
    return X, 4.0


def sign_gradient(w, X, y):
    """Gradient of the least squares loss |X w - y|^2 / 2."""
    return X.T @ (X @ w - y)


def sign_solution(X, y, c):
    """Where AdaGrad, RMSProp and Adam (eps = 0) go from 0, if they converge (Wilson et al. 2017,
    Lemma 3.1).
    """
    # At w = a sign(X^T y) the gradient is (a c - 1) X^T y: divided by a root of sums of its
    # squares, only the sign is left, so all iterates are multiples of sign(X^T y). X w = y at a = 1
    # / c. (Compare before the residual is nothing but rounding: eps = 0 blows that up.) A new
    # example has none of the own features, and its product with this w is (y + 2) / c > 0 for
    # either label.
    return np.sign(X.T @ y) / c


# --- Schedule-free SGD (Defazio et al. 2024, Theorem 1) -------------------------------------------


def schedule_free_theorem(D, G, T):
    """(learning_rate, bound on f(x_T) - f(x*)) for convex f with |f'| <= G, |x_1 - x*| = D, any b1
    in [0, 1].
    """
    # x_T is the mean of z_1, ..., z_T, where z_1 = x_1 is the start.
    return D / (G * np.sqrt(T)), D * G / np.sqrt(T)


def schedule_free_bound_without_start(D, G, T):
    """The bound for the mean of z_2, ..., z_(T+1), which is what the authors' code has after T
    updates.
    """
    # That is Theorem 2's bound d^2 / (2 gamma T) + gamma G^2 / 2 for the start z_2 instead of z_1,
    # and convexity gives d^2 = |z_2 - x*|^2 <= D^2 + gamma^2 G^2 = D^2 (1 + 1 / T).
    return D * G / np.sqrt(T) * (1 + 1 / (2 * T))


def absolute_value(x, a, G):
    """(f, f') of f(x) = G |x - a|: convex, |f'| <= G, minimum 0 at a."""
    return G * abs(x - a), G * np.sign(x - a)


# --- Largest stable learning rates on lambda x^2 / 2 ----------------------------------------------
# One step is linear in (x, t), t being the accumulator. With trace T and determinant D of its
# matrix the roots of z^2 - T z + D are inside the unit circle if and only if |D| < 1 and |T| < 1 +
# D (Jury 1964; Schur 1917). For learning rates > 0 and momentum in [0, 1), T > -1 - D is the
# condition that fails first.


def gradient_descent_limit(lam):
    """2 / lambda: |1 - learning_rate lambda| < 1 (Polyak 1987, chapter 1)."""
    return 2 / lam


def heavy_ball_limit(lam, momentum):
    """2 (1 + b) / lambda: T = 1 + b - learning_rate lambda and D = b (Polyak 1964)."""
    return 2 * (1 + momentum) / lam


def heavy_ball_matrix(learning_rate, lam, momentum):
    """The step t <- b t + lambda x, x <- x - learning_rate t on (x, t)."""
    a, b = learning_rate, momentum
    return np.array([[1 - a * lam, -a * b], [lam, b]])


def ema_limit(lam, decay):
    """2 (1 + b) / ((1 - b) lambda): heavy ball with the learning rate (1 - b) learning_rate."""
    return 2 * (1 + decay) / ((1 - decay) * lam)


def ema_matrix(learning_rate, lam, decay):
    """The step t <- b t + (1 - b) lambda x, x <- x - learning_rate t on (x, t)."""
    a, b = learning_rate, decay
    return np.array([[1 - a * (1 - b) * lam, -a * b], [(1 - b) * lam, b]])


def nesterov_limit(lam, momentum):
    """2 (1 + b) / ((1 + 2 b) lambda): T = (1 + b) (1 - learning_rate lambda) and D = b (1 -
    learning_rate lambda).
    """
    return 2 * (1 + momentum) / ((1 + 2 * momentum) * lam)


def nesterov_matrix(learning_rate, lam, momentum):
    """The step t <- b t + lambda x, x <- x - learning_rate (lambda x + b t) on (x, t)."""
    a, b = learning_rate, momentum
    return np.array([[1 - a * (1 + b) * lam, -a * b**2], [lam, b]])


def spectral_radius(matrix):
    """Largest modulus of an eigenvalue: the factor by which the slowest part shrinks in a step."""
    return np.max(np.abs(np.linalg.eigvals(matrix)))
