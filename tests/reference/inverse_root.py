#!/usr/bin/python3
"""The polynomial of host/ops/nd/root_five.c, which stands for five coupled Newton-Schulz steps. Needs NumPy.

  inverse_root.py check               its largest errors on eigenvalues from 0 to 1, and in float32 on matrices
  inverse_root.py fit [SEED]          finds coefficients anew, from those there with a tenth of noise
  inverse_root.py search [SEED]       the same from nothing but random numbers: most tries end in poor minima

A fit is Levenberg-Marquardt on relative errors of value and derivative. How the form was found: a scheme of seven
products in which every operand is a sum of all earlier results was fitted, then the least term left out and the rest
fitted again, for as long as the error stayed below 2e-7; what was left has six products, and its squares' linear terms
went into shifts."""
import os
import re
import sys
import numpy as np

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'host', 'ops', 'nd', 'root_five.c')
NAMES = ('x1', 'x3', 'b.w', 'b.x', 'b.i', 'c.w', 'c.x', 'c.i', 'x4.square', 'x4.w', 'x4.b', 'x4.i', 'x5.square',
         'x5.i', 'x6.square', 'x6.i', 'r.w', 'r.b', 'r.x5', 'r.x6', 'r.i', 'z.w', 'z.b', 'z.i')
DERIVATIVES = 0.1    # weight of the derivative's errors in a fit


def coefficients():
    with open(SOURCE, encoding='utf-8') as f:
        text = re.search(r'\} k = \{(.*?)\n\};', f.read(), re.S).group(1)
    return np.array([float(n) for n in re.findall(r'(?<![\w.])-?\d+\.?\d*(?:e-?\d+)?(?=f)', text)])


class Jet:
    """A value (n), its derivative by w, and both again by every coefficient: (coefficients, n)."""

    def __init__(self, v, d, by_v, by_d):
        self.parts = v, d, by_v, by_d

    def __add__(self, other):
        return Jet(*(a + b for a, b in zip(self.parts, other.parts)))

    def __mul__(self, other):
        (v, d, jv, jd), (w, e, kv, kd) = self.parts, other.parts
        return Jet(v * w, d * w + v * e, jv * w + v * kv, jd * w + d * kv + jv * e + v * kd)


def jets(p, w):
    """W, the unit, and the coefficients by name."""
    zero, by = np.zeros_like(w), np.zeros((len(p), len(w)))
    named = {}
    for i, (name, value) in enumerate(zip(NAMES, p)):
        own = by.copy()
        own[i] = 1
        named[name] = Jet(value + zero, zero, own, by)
    return Jet(w, zero + 1, by, by), Jet(zero + 1, zero, by, by), named


def polynomial(w, unit, k, product):
    """In the order of root_five.c; `product` multiplies, and so does * by a coefficient."""
    x1 = product(w, w) + unit * k['x1']
    b = w * k['b.w'] + x1 * k['b.x'] + unit * k['b.i']
    c = w * k['c.w'] + x1 * k['c.x'] + unit * k['c.i']
    x3 = product(b, c) + unit * k['x3']
    x4 = product(x3, x3) * k['x4.square'] + w * k['x4.w'] + b * k['x4.b'] + unit * k['x4.i']
    x5 = product(x4, x4) * k['x5.square'] + unit * k['x5.i']
    x6 = product(x5, x5) * k['x6.square'] + unit * k['x6.i']
    r = w * k['r.w'] + b * k['r.b'] + x5 * k['r.x5'] + x6 * k['r.x6'] + unit * k['r.i']
    return product(x6, r) + w * k['z.w'] + b * k['z.b'] + unit * k['z.i']


def five_steps(w):
    """The published function and its derivative, on numbers."""
    y, dy, z, dz = w, np.ones_like(w), np.ones_like(w), np.zeros_like(w)
    for _ in range(5):
        t, dt = (3 - z * y) / 2, -(dz * y + z * dy) / 2
        y, dy, z, dz = y * t, dy * t + y * dt, t * z, dt * z + t * dz
    return z, dz


def residuals(p, w, z, dz):
    w, unit, named = jets(p, w)
    v, d, by_v, by_d = polynomial(w, unit, named, lambda a, b: a * b).parts
    return (np.concatenate([v / z - 1, DERIVATIVES * (d / dz - 1)]),
            np.concatenate([by_v / z, DERIVATIVES * by_d / dz], 1).T)


def fit(p, steps=500):
    w = np.unique(np.concatenate([(1 - np.cos(np.pi * np.linspace(0, 1, 161))) / 2, np.logspace(-9, -1, 60)]))
    z, dz = five_steps(w)
    damping = 1e-6
    r, jacobian = residuals(p, w, z, dz)
    for _ in range(steps):
        scale = 1 / np.maximum(np.linalg.norm(jacobian, axis=0), 1e-12)
        a = jacobian * scale
        a = np.concatenate([a, np.sqrt(damping) * 1e-3 * np.linalg.norm(a) * np.eye(len(p))])
        q = p + np.linalg.lstsq(a, np.concatenate([-r, np.zeros(len(p))]), rcond=1e-15)[0] * scale
        with np.errstate(all='ignore'):
            new, new_jacobian = residuals(q, w, z, dz)
            better = np.isfinite(new @ new) and new @ new < r @ r
        if better:
            p, r, jacobian, damping = q, new, new_jacobian, max(damping / 10, 1e-18)
        elif (damping := damping * 10) > 1e6:
            break
    return p


def errors(p):
    """Largest relative errors of value and derivative, coefficients in float32."""
    w = np.unique(np.concatenate([np.logspace(-9, 0, 4001), np.linspace(0, 1, 4001)]))
    z, dz = five_steps(w)
    r, _ = residuals(np.float32(p).astype(float), w, z, dz)
    return np.max(np.abs(r[:len(w)])), np.max(np.abs(r[len(w):])) / DERIVATIVES


def random_covariance(features, condition, rng):
    """Random eigenvectors, eigenvalues spread evenly in the logarithm; by its norm."""
    q, _ = np.linalg.qr(rng.normal(size=(features, features)))
    s = (q * np.logspace(0, -np.log10(condition), features)) @ q.T
    return s / np.linalg.norm(s)


def image_covariance(features, rng):
    """Of 3x3 patches of rectified channels whose neighbouring pixels and channels correlate."""
    x = rng.normal(size=(4 * features, features // 9, 5, 5))
    x = np.maximum(x + 0.7 * np.roll(x, 1, 3) + 0.5 * np.roll(x, 1, 1) + 0.6 * np.roll(x, 1, 2) + 0.2, 0)
    rows = x[:, :, 1:4, 1:4].reshape(len(x), -1)
    rows -= rows.mean(0)
    s = rows.T @ rows / len(rows) + 1e-5 * np.eye(features)
    return s / np.linalg.norm(s)


class Tangent:
    """A symmetric matrix and its derivative in a direction."""

    def __init__(self, value, direction):
        self.value, self.direction = value, direction

    def __add__(self, other):
        return Tangent(self.value + other.value, self.direction + other.direction)

    def __mul__(self, number):
        return Tangent(self.value * number, self.direction * number)

    def times(self, other):
        return Tangent(self.value @ other.value, self.direction @ other.value + self.value @ other.direction)


def on_matrix(p, s, g, dtype):
    s, g, unit = s.astype(dtype), g.astype(dtype), np.eye(len(s), dtype=dtype)
    named = dict(zip(NAMES, p.astype(dtype)))
    z = polynomial(Tangent(s, g), Tangent(unit, 0 * unit), named, Tangent.times)
    return z.value, z.direction


def steps_on_matrix(s, g, dtype):
    """The iteration step by step, W and Z carried."""
    s, g, unit, half = s.astype(dtype), g.astype(dtype), np.eye(len(s), dtype=dtype), dtype(0.5)
    w, z = Tangent(s, g), Tangent(unit, 0 * unit)
    for _ in range(5):
        t = Tangent(unit, 0 * unit) * (3 * half) + w * -half
        w, z = w.times(t).times(t), t.times(z)
    return z.value, z.direction


def check():
    p, rng, norm = coefficients(), np.random.default_rng(0), np.linalg.norm
    print('eigenvalues 0 to 1: value %.1e, derivative %.1e' % errors(p))
    print('%-28s %-24s %s' % ('float32, of the norm', 'five steps: D, gradient', 'polynomial: D, gradient'))
    cases = [('F %d, condition %.0e' % (f, c), random_covariance(f, c, rng))
             for f, c in ((9, 1e2), (64, 1e1), (64, 1e3), (144, 1e5), (576, 1e4))]
    cases += [('F %d, patches' % f, image_covariance(f, rng)) for f in (144, 576)]
    for name, s in cases:
        g = rng.normal(size=s.shape)
        g += g.T
        z, dz = steps_on_matrix(s, g, np.float64)
        found = [norm(a - b) / norm(b) for result in (steps_on_matrix(s, g, np.float32),
                                                      on_matrix(p, s, g, np.float32)) for a, b in zip(result, (z, dz))]
        print('%-28s %-8.1e %-15.1e %-8.1e %.1e' % (name, *found))


def find(start, seed, tries=20):
    rng = np.random.default_rng(seed)
    for _ in range(tries):
        p = fit(start(rng))
        print('value %.1e, derivative %.1e:' % errors(p), ', '.join('%s %.9g' % pair for pair in zip(NAMES, p)))


def main():
    command, seed = sys.argv[1] if len(sys.argv) > 1 else '', int(sys.argv[2]) if len(sys.argv) > 2 else 0
    if command == 'check':
        check()
    elif command == 'fit':
        p = coefficients()
        find(lambda rng: p * (1 + 0.1 * rng.normal(size=len(p))), seed)
    elif command == 'search':
        find(lambda rng: rng.normal(size=len(NAMES)), seed, 1000)
    else:
        sys.exit(__doc__)


if __name__ == '__main__':
    main()
