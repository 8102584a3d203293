"""What Blanch draws on a device, in NumPy and double precision from the same integers (README.md, "Noise"). Run, it
checks itself against the generator's published vectors."""
import numpy as np

NOISE, TIME = 8, 9                  # purposes, as enum bl_purpose in host/base/base.h numbers them
LOW = np.uint64(0xffffffff)


def philox(counter, key):
    """Philox4x32-10 (Salmon et al., SC 2011). counter: (..., 4) words; key: two; returns (..., 4) words, as uint64."""
    c, k = [np.asarray(counter, np.uint64)[..., i] for i in range(4)], list(key)
    for _ in range(10):
        a, b = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [b >> np.uint64(32) ^ c[1] ^ np.uint64(k[0]), b & LOW, a >> np.uint64(32) ^ c[3] ^ np.uint64(k[1]), a & LOW]
        k = [k[0] + 0x9E3779B9 & 0xffffffff, k[1] + 0xBB67AE85 & 0xffffffff]
    return np.stack(c, -1)


def words(seed, purpose, positions, stream):
    """Four of each position."""
    at = np.asarray(positions, np.uint64)
    two = [np.full(at.shape, v, np.uint64) for v in (stream & 0xffffffff, stream >> 32)]
    key = seed & 0xffffffff, (seed >> 32 ^ purpose * 0x85EBCA6B) & 0xffffffff
    return philox(np.stack([at & LOW, at >> np.uint64(32)] + two, -1), key)


class Draws:
    """Those of one node: its index in the graph, the input not counted. step: training steps begun, this one included;
    0 in evaluation."""

    def __init__(self, seed, index, step):
        self.seed, self.stream = seed, step << 16 | index

    def normals(self, shape):
        """shape: (N, C, H, W), or (N, C); numbers are counted with channels last."""
        n, c, h, w = (*shape, 1, 1)[:4]
        blocks = -(-c * h * w // 4)
        top = words(self.seed, NOISE, np.arange(n * blocks), self.stream) >> np.uint64(8)      # 24 bits
        radius, angle = np.sqrt(-2 * np.log((top[:, ::2] + 0.5) * 2.0 ** -24)), 2 * np.pi * 2.0 ** -24 * top[:, 1::2]
        four = np.stack((radius * np.cos(angle), radius * np.sin(angle)), -1)
        return four.reshape(n, -1)[:, :c * h * w].reshape(n, h, w, c).transpose(0, 3, 1, 2).reshape(shape)

    def times(self, n, steps):
        return (words(self.seed, TIME, np.arange(n), self.stream)[:, 0] * np.uint64(steps) >> np.uint64(32)).astype(
            np.int64)


def check():
    """Random123 1.09, kat_vectors, philox4x32 10."""
    for counter, key, want in (
            ([0] * 4, [0] * 2, [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]),
            ([0xffffffff] * 4, [0xffffffff] * 2, [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]),
            ([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0],
             [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1])):
        assert philox(counter, key).tolist() == want


if __name__ == '__main__':
    check()
