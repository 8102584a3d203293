#!/usr/bin/env python3
"""Small files of every kind of image that is read, and what PIL makes of them: images.json, which test_images reads.

    images.py > images.json

Made with Pillow 9.4.0 and cjpeg of libjpeg-turbo 2.1.5 (Debian: python3-pil, python3-numpy, libjpeg-turbo-progs; run
with /usr/bin/python3). Per case `name`, `file` (hex), and `width`, `height`, `rgb` (hex) of
ImageOps.exif_transpose(Image.open(file)).convert('RGB'), but for 16-bit grey, whose high bytes PIL clips; or `refused`,
a part of the message. `lossy`: another JPEG decoder may differ by a few levels."""
import io
import json
import struct
import subprocess
import sys
import zlib

import numpy
from PIL import Image, ImageOps

WIDTH, HEIGHT = 13, 9
CASES = []


def picture(width=WIDTH, height=HEIGHT, channels=3):
    y, x, c = numpy.mgrid[0:height, 0:width, 0:channels]
    return ((y * 23 + x * 17 + c * 71 + x * y * 5) % 256).astype(numpy.uint8)


def smooth(width, height):
    y, x, c = numpy.mgrid[0:height, 0:width, 0:3]
    return (128 + 120 * numpy.sin(x / 2.5 + c) * numpy.cos(y / 3.0 - c)).astype(numpy.uint8)


def add(name, file, pixels=None, **more):
    """pixels: (height, width, 3), where they are not PIL's."""
    if pixels is None:
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(file)))
        pixels = numpy.array(image.convert('RGB'))
    CASES.append({'name': name, 'file': file.hex(), 'width': pixels.shape[1], 'height': pixels.shape[0],
                  'rgb': pixels.astype(numpy.uint8).tobytes().hex(), **more})


def refuse(name, file, message):
    CASES.append({'name': name, 'file': file.hex(), 'refused': message})


def saved(array, kind, mode=None, **options):
    image, out = Image.fromarray(array), io.BytesIO()
    (image.convert(mode) if mode else image).save(out, kind, **options)
    return out.getvalue()


# --- JPEG ----------------------------------------------------------------------------------------

def segment(marker, data):
    return struct.pack('>BBH', 255, marker, len(data) + 2) + data


def segments(file):
    """(marker, offset, whole bytes) of what stands before the first scan's data."""
    at = 2
    while file[at + 1] != 0xda:
        length = struct.unpack('>H', file[at + 2:at + 4])[0] + 2
        yield file[at + 1], at, file[at:at + length]
        at += length
    length = struct.unpack('>H', file[at + 2:at + 4])[0] + 2
    yield 0xda, at, file[at:at + length]


def without(file, marker):
    for found, at, whole in segments(file):
        if found == marker:
            return file[:at] + file[at + len(whole):]
    raise ValueError(marker)


def cjpeg(array, *options):
    return subprocess.run(['cjpeg', '-quality', '90', *options], input=b'P6\n%d %d\n255\n' % array.shape[1::-1] +
                          array.tobytes(), stdout=subprocess.PIPE, check=True).stdout


def exif(orientation, order='<', kind='H', before=0, number=None, count=1, outside=False):
    """number: the entry's type, where it is not that of `kind`; outside: the other entry's value lies nowhere."""
    head = {'<': b'II', '>': b'MM'}[order] + struct.pack(order + 'HI', 42, 8 + before) + bytes(before)
    value = struct.pack(order + kind, orientation).ljust(4, b'\0')
    entry = struct.pack(order + 'HHI', 0x112, number or {'H': 3, 'I': 4}[kind], count) + value
    other = struct.pack(order + 'HHII', 0x100, 4, 2 if outside else 1, 77)
    return head + struct.pack(order + 'H', 2) + other + entry + bytes(4)


def tagged(file, tiff):
    return file[:2] + segment(0xe1, b'Exif\0\0' + tiff) + file[2:]


def jpegs():
    array = smooth(37, 21)
    for sampling in ('1x1', '2x1', '1x2', '2x2', '4x1'):
        add('jpeg-%s' % sampling, cjpeg(array, '-sample', sampling), lossy=True)
    add('jpeg-even-2x1', cjpeg(smooth(32, 16), '-sample', '2x1'), lossy=True)
    add('jpeg-narrow', cjpeg(smooth(1, 9), '-sample', '2x1'), lossy=True)
    add('jpeg-progressive', cjpeg(array, '-progressive'), lossy=True)
    add('jpeg-arithmetic', cjpeg(array, '-arithmetic'), lossy=True)
    add('jpeg-restarts', cjpeg(array, '-restart', '1B'), lossy=True)
    add('jpeg-grey', cjpeg(array, '-grayscale'), lossy=True)
    add('jpeg-rgb', cjpeg(array, '-rgb'), lossy=True)
    file = cjpeg(array, '-sample', '2x2')
    add('jpeg-bytes-before-a-marker', file[:-2] + b'\x12\x34\xff\xff\xd9', lossy=True)
    add('jpeg-bytes-behind', file + b'more', lossy=True)
    inks, out = numpy.concatenate([array, array[..., :1] // 3], 2), io.BytesIO()
    Image.fromarray(inks, 'CMYK').save(out, 'JPEG', quality=95)
    four = out.getvalue()
    adobe = segment(0xee, b'Adobe' + struct.pack('>HHHB', 100, 0, 0, 2))
    add('jpeg-cmyk', four, lossy=True)
    add('jpeg-ycck', four[:2] + adobe + without(four, 0xee)[2:], lossy=True)
    add('jpeg-cmyk-without-adobe', without(four, 0xee), lossy=True)
    small = cjpeg(smooth(WIDTH, HEIGHT))
    for orientation in range(10):
        order, kind = '<>'[orientation % 2], 'HHI'[orientation % 3]
        add('jpeg-exif-%d' % orientation, tagged(small, exif(orientation, order, kind, 3 * orientation)), lossy=True)
    for number in (*range(1, 11), *range(12, 15), 16):
        for order in '<>':
            add('jpeg-exif-type-%d-%s' % (number, 'IM'[order == '>']), tagged(small, exif(
                6, order, {1: 'B', 2: 'B', 6: 'B', 7: 'B', 3: 'H', 8: 'H'}.get(number, 'I'), 0, number)),
                lossy=True)
    add('jpeg-exif-two-values', tagged(small, exif(6, count=2)), lossy=True)
    add('jpeg-exif-values-elsewhere', tagged(small, exif(10, kind='I', count=3, number=3) + bytes(16)), lossy=True)
    add('jpeg-exif-no-values', tagged(small, exif(6, count=0)), lossy=True)
    add('jpeg-exif-outside', tagged(small, exif(6, outside=True)), lossy=True)
    add('jpeg-exif-first-counts', tagged(tagged(small, exif(3)), exif(6)), lossy=True)
    add('jpeg-exif-damaged', tagged(small, exif(6)[:15]), file_pixels(small), lossy=True)
    refuse_jpegs(file, cjpeg(array, '-progressive'), cjpeg(array, '-restart', '1B'))


def file_pixels(file):
    return numpy.array(Image.open(io.BytesIO(file)).convert('RGB'))


def refuse_jpegs(file, progressive, restarts):
    refuse('jpeg-without-end', file[:-2], 'the JPEG is cut off')
    refuse('jpeg-half-with-end', file[:len(file) * 3 // 4] + b'\xff\xd9', 'the JPEG is damaged')
    refuse('jpeg-progressive-half-with-end', progressive[:len(progressive) * 3 // 4] + b'\xff\xd9',
           'the JPEG is damaged')
    at = restarts.index(b'\xff\xd1')
    refuse('jpeg-without-a-restart', restarts[:at] + restarts[restarts.index(b'\xff\xd3'):], 'the JPEG is damaged')
    frame = next(at for marker, at, _ in segments(file) if marker == 0xc0)
    refuse('jpeg-12-bits', file[:frame + 4] + b'\x0c' + file[frame + 5:], 'a JPEG of 12 bits is not read')
    refuse('jpeg-lossless', file[:frame + 1] + b'\xc3' + file[frame + 2:], 'lossless')
    refuse('jpeg-65500x65500', file[:frame + 5] + b'\xff\xdc\xff\xdc' + file[frame + 9:], 'is too large')
    refuse('jpeg-without-pixels', file[:frame + 5] + b'\0\0' + file[frame + 7:], 'no pixels')
    scan = next(at for marker, at, _ in segments(progressive) if marker == 0xda)
    refuse('jpeg-without-a-scan', progressive[:scan] + b'\xff\xd9', 'no scan')


# --- PNG -----------------------------------------------------------------------------------------

KINDS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def chunk(kind, data, wrong=0):
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data) ^ wrong)


def packed(values, depth):
    """Rows of samples, filtered by 0 or, in bytes, by 1 (left) or 2 (above) in turn."""
    rows, above = b'', None
    for y, samples in enumerate(values):
        row = samples.astype('>u2').tobytes() if depth == 16 else samples.astype(numpy.uint8).tobytes()
        if depth < 8:
            bits = ''.join('{:0{}b}'.format(v, depth) for v in row)
            bits += '0' * (-len(bits) % 8)
            row = bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8))
        upper = above if above is not None else bytes(len(row))
        if y % 2:
            rows += b'\2' + bytes((a - b) % 256 for a, b in zip(row, upper))
        else:
            rows += b'\0' + row
        above = row
    return rows


def png(depth, kind, lace=0, width=WIDTH, height=HEIGHT, extra=b'', after=b'', most=None, cut=None):
    channels = KINDS[kind]
    values = picture(width, height, channels).astype(int) * 257 if depth == 16 else picture(width, height, channels)
    values = (values + 99 if depth == 16 else values) % min(1 << depth, most or 1 << 16)
    passes = PASSES if lace else ((0, 0, 1, 1),)
    parts = [values[y::dy, x::dx].reshape(-(-(height - y) // dy), -1) for x, y, dx, dy in passes
             if x < width and y < height]
    data = zlib.compress(b''.join(packed(part, depth) for part in parts)[:cut])
    return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, depth, kind, 0, 0, lace)) +
            extra + chunk(b'IDAT', data) + after + chunk(b'IEND', b''))


def palette(colours):
    return chunk(b'PLTE', bytes((i * 37 + c * 91) % 256 for i in range(colours) for c in range(3)))


def pngs():
    for lace in (0, 1):
        for depth, kind in ((1, 0), (2, 0), (4, 0), (8, 0), (8, 2), (16, 2), (8, 4), (16, 4), (8, 6), (16, 6)):
            add('png-%d-bits-kind-%d-%d' % (depth, kind, lace), png(depth, kind, lace))
        for depth in (1, 2, 4, 8):
            add('png-palette-%d-%d' % (depth, lace), png(depth, 3, lace, extra=palette(1 << depth)))
        file = png(16, 0, lace)
        values = (picture(channels=1).astype(int) * 257 + 99) % 65536 >> 8
        add('png-16-bits-kind-0-%d' % lace, file, numpy.repeat(values, 3, 2))
    add('png-one-pixel', png(8, 2, 1, 1, 1))
    add('png-short-palette', png(8, 3, extra=palette(5) + chunk(b'tRNS', b'\0\x80'), most=5))
    add('png-grey-transparent', png(8, 0, extra=chunk(b'tRNS', b'\0\0')))
    add('png-colour-transparent', png(8, 2, extra=chunk(b'tRNS', bytes(6))))
    for orientation in (3, 6):
        add('png-exif-%d' % orientation, png(8, 2, extra=chunk(b'eXIf', exif(orientation, '>'))))
    add('png-exif-behind', png(8, 2, after=chunk(b'eXIf', exif(8))))
    refuse('png-beyond-its-palette', png(8, 3, extra=palette(5)), 'palette')
    refuse('png-too-few-rows', png(8, 2, cut=200), 'the PNG')
    refuse('png-wrong-checksum', png(8, 2)[:-16] + b'\0' + png(8, 2)[-15:], 'a checksum is wrong')
    depth = chunk(b'IHDR', struct.pack('>IIBBBBB', WIDTH, HEIGHT, 238, 3, 0, 0, 0))
    refuse('png-238-bits', png(8, 3)[:8] + depth + palette(5) + png(8, 3)[33:], '238 bits')
    refuse('png-without-end', png(8, 2)[:-12], 'the PNG is cut off')
    refuse('png-16385x16384', b'\x89PNG\r\n\x1a\n' +
           chunk(b'IHDR', struct.pack('>IIBBBBB', 16385, 16384, 1, 0, 0, 0, 0)) +
           chunk(b'IDAT', zlib.compress(bytes(9))) + chunk(b'IEND', b''), 'is too large')


# --- GIF -----------------------------------------------------------------------------------------

def lzw(indices, width, clear_every=0):
    """Blocks of codes; clear_every: codes between clearings, 0 for when the table is full."""
    clear, codes, size, table, word = 1 << width, [], width + 1, {}, ()
    codes.append((clear, size))
    table = {(i,): i for i in range(clear)}
    made = clear + 2
    for index in [*indices, None]:
        if index is not None and word + (index,) in table:
            word += (index,)
            continue
        codes.append((table[word], size))
        if index is None:
            break
        if made < 4096:
            table[word + (index,)] = made
            made += 1
            size = max(size, min(12, (made - 1).bit_length()))
        if clear_every and len(codes) % clear_every == 0:
            codes.append((clear, size))
            table, made, size = {(i,): i for i in range(clear)}, clear + 2, width + 1
        word = (index,)
    codes.append((clear + 1, size))
    bits = ''.join('{:0{}b}'.format(code, size)[::-1] for code, size in codes)
    bits += '0' * (-len(bits) % 8)
    data = bytes(int(bits[i:i + 8][::-1], 2) for i in range(0, len(bits), 8))
    return b''.join(bytes([len(data[i:i + 100])]) + data[i:i + 100] for i in range(0, len(data), 100)) + b'\0'


def gif(indices, width=3, screen=None, place=(0, 0), own=False, control=b'', lace=False, **more):
    """indices: (height, width); own: the image has a palette beside the screen's."""
    height, across = indices.shape
    if lace:
        indices = numpy.concatenate([indices[0::8], indices[4::8], indices[2::4], indices[1::2]])
    colours = bytes((i * 29 + c * 101) % 256 for i in range(1 << width) for c in range(3))
    head = b'GIF89a' + struct.pack('<HHBBB', *(screen or (across, height)), 0x80 | width - 1, 2, 0) + colours
    flags = 0x40 * lace | (0x80 | width - 1) * own
    image = b',' + struct.pack('<HHHHB', *place, across, height, flags) + colours[::-1] * own
    data = lzw(indices.flatten().tolist(), max(2, width), **more)
    return head + control + image + bytes([max(2, width)]) + data + b';'


def gifs():
    indices = picture(channels=1)[..., 0]
    add('gif-8', gif(indices, 8))
    add('gif-3-own-palette', gif(indices % 8, own=True))
    add('gif-1', gif(indices % 2, 1))
    add('gif-interlaced', gif(indices % 16, 4, lace=True))
    add('gif-cleared-often', gif(indices % 4, 2, clear_every=9))
    add('gif-on-a-screen', gif(indices % 8, screen=(17, 12), place=(2, 1)))
    control = b'!\xfe\x02hi\0!\xf9\4\1\0\0\5\0'
    add('gif-on-a-screen-transparent', gif(indices % 8, screen=(17, 12), place=(2, 1), control=control))
    add('gif-beyond-its-screen', gif(indices % 8, screen=(5, 5)))
    random = numpy.random.default_rng(1).integers(0, 256, (60, 80))
    add('gif-full-table', gif(random, 8, clear_every=6000))
    file = gif(indices % 8)
    refuse('gif-half-with-end', file[:-30] + b'\0;', 'the GIF')
    refuse('gif-no-image', file[:6] + struct.pack('<HHBBB', 5, 5, 0, 0, 0) + b';', 'no image')


# --- BMP -----------------------------------------------------------------------------------------

def rows_of(values, bits, masks=None):
    rows = b''
    for line in values:
        if bits <= 8:
            text = ''.join('{:0{}b}'.format(v, bits) for v in line)
            text += '0' * (-len(text) % 8)
            row = bytes(int(text[i:i + 8], 2) for i in range(0, len(text), 8))
        else:
            row = b''.join(int(v).to_bytes(bits // 8, 'little') for v in line)
        rows += row + bytes(-len(row) % 4)
    return rows


def bmp(data, bits, compression=0, colours=0, height=HEIGHT, masks=(), width=WIDTH, length=40):
    head = struct.pack('<IiiHHIIiiII', length, width, height, 1, bits, compression, 0, 0, 0, colours, 0)
    head += b''.join(struct.pack('<I', mask) for mask in masks)
    head += bytes(length - len(head)) if length > 40 else b''
    if bits <= 8:
        head += bytes((i * 29 + c * 101) % 256 for i in range(colours or 1 << bits) for c in range(4))
    return b'BM' + struct.pack('<IHHI', 14 + len(head) + len(data), 0, 0, 14 + len(head)) + head + data


def scaled(values, parts):
    """RGB of pixels by (shift, bits) of each part, rounded down."""
    return numpy.stack([(values >> shift & (1 << bits) - 1) * 255 // ((1 << bits) - 1) for shift, bits in parts], -1)


def bmps():
    grey = picture(channels=1)[..., 0].astype(int)
    wide = grey * 257 ^ 0x1234
    for bits in (1, 4, 8):
        add('bmp-%d' % bits, bmp(rows_of(grey % (1 << bits), bits), bits))
    add('bmp-16', bmp(rows_of(wide, 16), 16))
    add('bmp-24', saved(picture(), 'BMP'))
    add('bmp-32', bmp(rows_of(grey * 0x1020304 % (1 << 32), 32), 32))
    add('bmp-downwards', bmp(rows_of(grey, 8), 8, height=-HEIGHT))
    add('bmp-565', bmp(rows_of(wide, 16), 16, 3, masks=(0xf800, 0x7e0, 0x1f)))
    add('bmp-rgba', bmp(rows_of(grey * 0x1020304, 32), 32, 3, masks=(255, 0xff00, 0xff0000, 0xff000000), length=108))
    tens = grey * 0x1020304 % (1 << 30)
    add('bmp-10-bits', bmp(rows_of(tens, 32), 32, 3, masks=(0x3ff00000, 0xffc00, 0x3ff)),
        scaled(tens, ((20, 10), (10, 10), (0, 10)))[::-1])
    core = struct.pack('<IHHHH', 12, WIDTH, HEIGHT, 1, 8) + bytes((i * 29 + c * 101) % 256 for i in range(256)
                                                                for c in range(3))
    add('bmp-os2', b'BM' + struct.pack('<IHHI', 0, 0, 0, 14 + len(core)) + core + rows_of(grey, 8))
    runs = b''.join(bytes([5, y, 0, 7, *range(y, y + 7), 0, 1, 9, 0, 0]) for y in range(HEIGHT))
    add('bmp-rle8', bmp(runs + b'\0\1', 8, 1))
    halves = b''.join(bytes([5, 0x3a, 0, 8, 0x12, 0x34, 0x56, 0x7f, 0, 0]) for _ in range(HEIGHT))
    add('bmp-rle4', bmp(halves + b'\0\1', 4, 2))
    add('bmp-rle8-short-lines', bmp(bytes([3, 7, 0, 0]) * HEIGHT, 8, 1))
    refuse('bmp-rle8-ends-early', bmp(runs[:32] + b'\0\1', 8, 1), 'before its last row')
    refuse('bmp-beyond-its-palette', bmp(rows_of(grey, 8), 8, colours=9), 'palette')
    refuse('bmp-too-large', bmp(b'', 24, width=30000, height=30000), 'is too large')
    refuse('bmp-jpeg-inside', bmp(b'', 24, 4), 'compression 4')


# --- TGA -----------------------------------------------------------------------------------------

def tga(kind, depth, data, flags=0, colours=0, first=0, entry=0, table=b'', comment=b''):
    return struct.pack('<BBBHHBHHHHBB',
                       len(comment), colours > 0, kind, first, colours, entry, 0, 0, WIDTH, HEIGHT, depth,
                       flags) + comment + table + data


def tgas():
    array, grey = picture(), picture(channels=1)
    four = picture(channels=4)
    for flags in (0, 0x10, 0x20, 0x30):
        add('tga-24-%02x' % flags, tga(2, 24, array.tobytes(), flags, comment=b'hello'))
    add('tga-32', tga(2, 32, four.tobytes(), 8))
    add('tga-16', tga(2, 16, picture(channels=2).tobytes(), 1))
    add('tga-grey', tga(3, 8, grey.tobytes()))
    add('tga-grey-alpha', tga(3, 16, picture(channels=2).tobytes(), 8))
    for entry in (16, 24, 32):
        table = bytes((i * 7) % 256 for i in range(256 * entry // 8))
        if entry == 16:
            colours = scaled(numpy.frombuffer(table, '<u2').astype(int), ((10, 5), (5, 5), (0, 5)))
        else:
            colours = numpy.frombuffer(table, numpy.uint8).reshape(256, -1)[:, 2::-1]
        pixels = None if entry == 24 else colours[grey[::-1, :, 0]]     # PIL fails at the others
        add('tga-palette-%d' % entry, tga(1, 8, grey.tobytes(), 0, 256, 0, entry, table), pixels)
    add('tga-palette-from-200',
        tga(1, 8, (200 + grey % 9).astype(numpy.uint8).tobytes(), 0, 9, 200, 24, bytes(range(27))))
    flat = numpy.repeat(picture(4, HEIGHT), [5, 5, 2, 1], 1)
    for mode, kind in (('RGB', 'RGB'), ('L', 'L'), ('RGBA', 'RGBA')):
        add('tga-runs-%s' % kind.lower(), saved(flat, 'TGA', mode, compression='tga_rle'))
    add('tga-run-over-rows', tga(10, 24, bytes([0x80 | 116, 1, 2, 3])),
        numpy.tile(numpy.uint8([3, 2, 1]), (HEIGHT, WIDTH, 1)))
    refuse('tga-beyond-its-palette', tga(1, 8, grey.tobytes(), 0, 9, 200, 24, bytes(27)), 'palette')


# --- PNM -----------------------------------------------------------------------------------------

def plain(values):
    return b''.join(b' '.join(b'%d' % v for v in row.flatten()) + b'\n' for row in values)


def pnms():
    bits = picture(channels=1)[..., 0] % 2
    size = b'%d %d\n' % (WIDTH, HEIGHT)
    packed_bits = b''.join(numpy.packbits(row).tobytes() for row in bits)
    add('pbm-plain', b'P1 # bits\n' + size + b''.join(b''.join(b'%d' % v for v in row) + b'\n' for row in bits))
    add('pbm', b'P4\n' + size + packed_bits)
    for largest in (1, 6, 15, 100, 254, 255, 1023, 4095, 65534, 65535):
        for letter, channels in ((b'5', 1), (b'6', 3)):
            values = picture(channels=channels).astype(int) * 257 % (largest + 1)
            head = size + b'# a comment\n%d\n' % largest
            rgb = values >> 8 if largest == 65535 else numpy.rint(values / largest * 255)
            rgb = numpy.repeat(rgb, 3 // channels, 2)
            name = '%s-%d' % ({1: 'pgm', 3: 'ppm'}[channels], largest)
            raw = b'P' + letter + b'\n' + head + values.astype('>u2' if largest > 255 else 'u1').tobytes()
            ours = rgb if largest > 255 and channels == 1 or largest == 65535 else None
            add(name, raw, ours)
            if largest in (15, 255, 65535):
                add(name + '-plain', b'P%d\n' % (channels // 2 + 2) + head + plain(values), ours)
    add('pgm-comments', b'P5#a\n%d#b\n#c\n %d\n255\n' % (WIDTH, HEIGHT) + picture(channels=1).tobytes(),
        numpy.repeat(picture(channels=1), 3, 2))
    add('ppm-bytes-behind', b'P6\n' + size + b'255\n' + picture().tobytes() + b'more')
    refuse('pgm-largest-0', b'P5\n' + size + b'0\n' + bytes(200), 'largest value')
    refuse('pgm-largest-65536', b'P5\n' + size + b'65536\n' + bytes(400), 'largest value')
    refuse('pgm-plain-above-largest', b'P2\n1 1\n9\n10\n', 'above its largest')
    refuse('pgm-plain-words', b'P2\n1 1\n9\nten\n', 'number')
    refuse('pgm-too-large', b'P5\n999999 999999\n255\n', 'is too large')
    refuse('pgm-no-pixels', b'P5\n0 9\n255\n', 'no pixels')
    refuse('pam', b'P7\nWIDTH 1\n', 'a PAM file is not read')


def others():
    refuse('webp', b'RIFF\x1a\0\0\0WEBPVP8L' + bytes(20), 'a WebP file is not read')
    refuse('tiff', b'II*\0' + bytes(20), 'a TIFF file is not read')
    refuse('html', b'<!DOCTYPE html>404', 'HTML file is not read')
    refuse('text', b'not an image at all', 'not a readable image')


jpegs()
pngs()
gifs()
bmps()
tgas()
pnms()
others()
sys.stdout.write('[\n%s\n]\n' % ',\n'.join(json.dumps(case) for case in CASES))
