"""Pictures for the tests in Python, which need no library for them."""
import gzip
import os
import random
import struct
import zlib


def png(width, height, rgb):
    """A PNG file of width * height * 3 bytes."""
    chunk = lambda kind, data: struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
    rows = b''.join(b'\0' + rgb[y * width * 3:(y + 1) * width * 3] for y in range(height))
    return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)) +
            chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b''))


def noise_png(size, rng):
    return png(size, size, bytes(rng.randrange(256) for _ in range(3 * size * size)))


def idx(count, size):
    """Images whose label shows as a bright bar, and their labels."""
    rng, labels, pixels = random.Random(count), bytearray(), bytearray()
    for _ in range(count):
        label = rng.randrange(10)
        labels.append(label)
        for y in range(size):
            pixels += bytes((200 if 0 <= 14 * y - label * size < 2 * size else rng.randrange(60),)) * size
    return struct.pack('>IIII', 2051, count, size, size) + pixels, struct.pack('>II', 2049, count) + labels


def mnist(folder, train, test, size=12):
    """The spec of MNIST's files, made once, with so many images."""
    if not os.path.exists(folder):
        os.makedirs(folder)
        for part, count in (('train', train), ('t10k', test)):
            for kind, data in zip(('images-idx3', 'labels-idx1'), idx(count, size)):
                with open('%s/%s-%s-ubyte.gz' % (folder, part, kind), 'wb') as f:
                    f.write(gzip.compress(data))
    return 'mnist:' + folder
