#!/usr/bin/env python3
"""Makes a folder of pictures to train on, ten classes of shapes in any colours, sizes and places:

    pictures.py FOLDER [--others] [--size 96] [--train 100] [--test 20]

FOLDER/train/CLASS/*.png and FOLDER/test/CLASS/*.png. --others makes ten other classes, to train a network on before
it is tuned to these. The same pictures every time; needs nothing but Python."""
import argparse
import math
import os
import random
import struct
import zlib

# Inside or not, of x and y from -1 to 1.
SHAPES = {
    'disc': lambda x, y: x * x + y * y < 0.8,
    'ring': lambda x, y: 0.35 < x * x + y * y < 0.85,
    'square': lambda x, y: max(abs(x), abs(y)) < 0.75,
    'frame': lambda x, y: 0.45 < max(abs(x), abs(y)) < 0.8,
    'triangle': lambda x, y: -0.7 < y < 0.8 and abs(x) < (0.8 - y) / 1.7,
    'plus': lambda x, y: min(abs(x), abs(y)) < 0.22 and max(abs(x), abs(y)) < 0.9,
    'star': lambda x, y: math.hypot(x, y) < 0.55 + 0.35 * math.cos(5 * math.atan2(y, x)),
    'moon': lambda x, y: x * x + y * y < 0.8 and (x - 0.45) ** 2 + y * y > 0.55,
    'bars': lambda x, y: max(abs(x), abs(y)) < 0.9 and int((x + 1) * 3.5) % 2 == 0,
    'checks': lambda x, y: max(abs(x), abs(y)) < 0.9 and (int((x + 1) * 2.5) + int((y + 1) * 2.5)) % 2 == 0,
}
OTHERS = {
    'flower': lambda x, y: math.hypot(x, y) < 0.6 + 0.3 * math.cos(8 * math.atan2(y, x)),
    'heart': lambda x, y: (x * x + y * y - 0.45) ** 3 + x * x * y ** 3 * 1.2 < 0,
    'half': lambda x, y: x * x + y * y < 0.85 and y > 0,
    'diamond': lambda x, y: abs(x) + abs(y) < 0.95,
    'cross': lambda x, y: min(abs(x - y), abs(x + y)) < 0.3 and max(abs(x), abs(y)) < 0.85,
    'spiral': lambda x, y: math.hypot(x, y) < 0.95 and math.sin(9 * math.hypot(x, y) + math.atan2(y, x)) > 0,
    'dots': lambda x, y: math.hypot((x + 1) * 2 % 1 - 0.5, (y + 1) * 2 % 1 - 0.5) < 0.3 and max(abs(x), abs(y)) < 1,
    'arrow': lambda x, y: (abs(y) < 0.2 and -0.9 < x < 0.2) or (0.1 < x < 0.9 and abs(y) < (0.9 - x) * 0.9),
    'waves': lambda x, y: max(abs(x), abs(y)) < 0.9 and math.sin(8 * y + 2 * math.sin(5 * x)) > 0,
    'eye': lambda x, y: abs(y) < 0.6 * (1 - x * x) and x * x + y * y > 0.08,
}


def draw(inside, size, rng):
    """Three bytes a pixel: the shape, turned a little, in front of a shaded ground, and noise over both."""
    colours = [[rng.randrange(256) for _ in range(3)] for _ in range(2)]
    while sum(abs(a - b) for a, b in zip(*colours)) < 200:
        colours[1] = [rng.randrange(256) for _ in range(3)]
    scale, angle = rng.uniform(0.25, 0.42) * size, rng.uniform(-0.3, 0.3)
    at = [rng.uniform(scale, size - scale) for _ in range(2)]
    cosine, sine, shade = math.cos(angle) / scale, math.sin(angle) / scale, rng.uniform(-0.4, 0.4)
    pixels = bytearray()
    for py in range(size):
        light = 1 + shade * (py / size - 0.5)
        for px in range(size):
            dx, dy = px - at[0], py - at[1]
            colour = colours[inside(dx * cosine + dy * sine, dy * cosine - dx * sine)]
            noise = rng.randrange(-20, 21)
            pixels += bytes(min(255, max(0, int(c * light) + noise)) for c in colour)
    return pixels


def png(size, pixels):
    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
    rows = b''.join(b'\0' + pixels[3 * size * y:3 * size * (y + 1)] for y in range(size))
    return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', size, size, 8, 2, 0, 0, 0)) +
            chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b''))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder')
    parser.add_argument('--others', action='store_true', help='ten other classes')
    parser.add_argument('--size', type=int, default=96)
    parser.add_argument('--train', type=int, default=100, help='pictures of each class')
    parser.add_argument('--test', type=int, default=20)
    options = parser.parse_args()
    for name, inside in (OTHERS if options.others else SHAPES).items():
        rng = random.Random(name)
        for split, count in (('train', options.train), ('test', options.test)):
            folder = os.path.join(options.folder, split, name)
            os.makedirs(folder, exist_ok=True)
            for i in range(count):
                with open(os.path.join(folder, '%04d.png' % i), 'wb') as f:
                    f.write(png(options.size, draw(inside, options.size, rng)))


if __name__ == '__main__':
    main()
