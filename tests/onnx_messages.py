"""ONNX files for the tests in Python, which need no library for them: protobuf's messages, field by field (the format's
onnx.proto has their numbers)."""
import struct

FLOAT, INT64 = 1, 7


def varint(value):
    out, value = bytearray(), value & (1 << 64) - 1
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + bytes([value]))


def field(number, value):
    """A whole number, a float, or bytes, text or a message (already bytes)."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack('<f', value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def many(number, values):
    return b''.join(field(number, value) for value in values)


def tensor(name, sizes, values, external=None):
    """float32, or int64 where the values are whole. external: {'location': ..., 'offset': ..., 'length': ...}."""
    whole = bool(values) and all(isinstance(v, int) for v in values)
    head = many(1, sizes) + field(2, INT64 if whole else FLOAT) + field(8, name)
    if external is not None:
        return head + many(13, [field(1, k) + field(2, v) for k, v in external.items()]) + field(14, 1)
    return head + field(9, struct.pack('<%d%s' % (len(values), 'q' if whole else 'f'), *values))


def attribute(name, value):
    head = field(1, name)
    if isinstance(value, bytes):                            # a tensor
        return head + field(5, value) + field(20, 4)
    if isinstance(value, str):
        return head + field(4, value) + field(20, 3)
    if isinstance(value, int):
        return head + field(3, value) + field(20, 2)
    if isinstance(value, float):
        return head + field(2, value) + field(20, 1)
    return head + many(8, value) + field(20, 7)


def node(kind, inputs, outputs, name='', domain='', **attributes):
    return (many(1, inputs) + many(2, outputs) + field(3, name) + field(4, kind) + field(7, domain) +
            many(5, [attribute(k, v) for k, v in attributes.items()]))


def value(name, sizes, kind=FLOAT):
    """A size that is a text is open."""
    shape = many(1, [field(2, s) if isinstance(s, str) else field(1, s) for s in sizes])
    return field(1, name) + field(2, field(1, field(1, kind) + field(2, shape)))


def model(nodes, initialisers, inputs, outputs, opset=20, metadata=None, producer='pytorch'):
    graph = many(1, nodes) + field(2, 'g') + many(5, initialisers) + many(11, inputs) + many(12, outputs)
    return (field(1, 8) + field(2, producer) + field(7, graph) + field(8, field(1, '') + field(2, opset)) +
            many(14, [field(1, k) + field(2, v) for k, v in (metadata or {}).items()]))
