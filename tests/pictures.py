"""Pictures for the tests in Python, which need no library for them."""
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
