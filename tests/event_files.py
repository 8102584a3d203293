#!/usr/bin/env python3
"""TensorBoard's event files, read back: tests/event_files.py BLANCH. Frames, checksums and messages are decoded here,
from the formats' definitions; TensorBoard's own reader follows where it is installed. Prints TAP."""
import glob
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile

import tap

BLANCH = os.path.abspath(sys.argv[1])
HOME = tempfile.mkdtemp(prefix='blanch-tensorboard-')


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def masked(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xa282ead8) & 0xffffffff


def records(path):
    with open(path, 'rb') as f:
        data = f.read()
    at = 0
    while at < len(data):
        length, check = struct.unpack_from('<QI', data, at)
        assert check == masked(data[at:at + 8]), '%s: checksum of a length' % path
        body = data[at + 12:at + 12 + length]
        assert len(body) == length, '%s: cut off' % path
        assert struct.unpack_from('<I', data, at + 12 + length)[0] == masked(body), '%s: checksum of a record' % path
        yield body
        at += 16 + length


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        shift += 7
        at += 1
        if byte < 128:
            return value, at


def fields(data):
    """{field number: values}: numbers as the wire type says, bytes for what has a length."""
    found, at = {}, 0
    while at < len(data):
        key, at = varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = varint(data, at)
        elif kind == 2:
            length, at = varint(data, at)
            value, at = data[at:at + length], at + length
        else:
            form, size = {1: ('<d', 8), 5: ('<f', 4)}[kind]
            value, at = struct.unpack_from(form, data, at)[0], at + size
        found.setdefault(key >> 3, []).append(value)
    return found


def doubles(packed):
    return struct.unpack('<%dd' % (len(packed) // 8), packed)


def read(path):
    """Version, {tag: [(step, value)]}, {tag: [(step, fields of the histogram)]}"""
    version, scalars, histograms = None, {}, {}
    for number, body in enumerate(records(path)):
        event = fields(body)
        assert event[1][0] > 1.7e9, 'wall time %r' % event[1]
        if 3 in event:
            assert number == 0, 'the version is not first'
            version = event[3][0].decode()
            continue
        for value in fields(event[5][0])[1]:
            value = fields(value)
            tag = value[1][0].decode()
            if 2 in value:
                scalars.setdefault(tag, []).append((event[2][0], value[2][0]))
            else:
                histograms.setdefault(tag, []).append((event[2][0], fields(value[5][0])))
    return version, scalars, histograms


def near(a, b):
    return abs(a - b) <= 1e-5 * max(1, abs(b))


def train(*args, status=0):
    done = subprocess.run([BLANCH, 'train', '--quiet', *args], stderr=subprocess.PIPE, timeout=300)
    assert done.returncode == status, done.stderr.decode()[-300:]
    return done.stderr.decode()


RUN, LOGS = os.path.join(HOME, 'run'), os.path.join(HOME, 'logs')
NEW = ['--model', 'smallcnn', '--norm', 'nd', '--data', 'synthetic:3x32x32:10', '--batch', '32']


def files():
    return sorted(glob.glob(LOGS + '/events.out.tfevents.*'), key=os.path.getmtime)


def log(kind):
    with open(RUN + '/log.jsonl') as f:
        return [line for line in map(json.loads, f) if line['type'] == kind]


def test_scalars():
    version, scalars, _ = read(files()[0])
    assert version == 'brain.Event:2', version
    steps, epoch = log('step')[:4], log('epoch')[0]
    for tag, key in (('train/loss', 'loss'), ('lr', 'lr'), ('images_per_s', 'images_per_s')):
        assert [s for s, _ in scalars[tag]] == [1, 2, 3, 4], scalars[tag]
        assert all(abs(v - line[key]) <= 1e-4 * abs(line[key]) for (_, v), line in zip(scalars[tag], steps)), tag
    assert all(0 <= v <= 100 for _, v in scalars['train/top1'])
    for tag, key in (('test/top1', 'test_top1'), ('test/loss', 'test_loss'), ('test/top5', 'test_top5'),
                     ('epoch/train_top1', 'train_top1'), ('epoch/train_loss', 'train_loss')):
        assert len(scalars[tag]) == 1 and scalars[tag][0][0] == 4 and near(scalars[tag][0][1],
                                                                           epoch[key]), (tag, scalars[tag], epoch)


def test_histograms():
    _, _, histograms = read(files()[0])
    layers = log('diagnose')[0]['layers']
    assert len(histograms) == len(layers) and all('whitened/' + l['name'] in histograms
                                                  for l in layers), sorted(histograms)
    for tag, [(step, h)] in histograms.items():
        limits, counts = doubles(h[6][0]), doubles(h[7][0])
        assert step == 1 and len(limits) == len(counts) and list(limits) == sorted(limits), tag
        assert sum(counts) == h[3][0] > 0 and limits[-1] == h[2][0] >= h[1][0], tag
        assert h[1][0] * h[3][0] <= h[4][0] <= h[2][0] * h[3][0] or near(h[1][0], h[2][0]), tag


def test_resume():
    train('--resume', '--out', RUN, '--steps', '6', '--tensorboard', LOGS)
    assert len(files()) == 2, files()
    _, scalars, _ = read(files()[1])
    assert [s for s, _ in scalars['train/loss']] == [5, 6], scalars['train/loss']


def test_budget():
    logs, run = os.path.join(HOME, 'held'), os.path.join(HOME, 'budget')
    train(*NEW, '--batch', '8', '--out', run, '--steps', '24', '--overhead-budget', '30%', '--tensorboard', logs)
    with open(run + '/log.jsonl') as f:
        decided = [line for line in map(json.loads, f) if line['type'] == 'budget']
    _, scalars, _ = read(glob.glob(logs + '/events.out.tfevents.*')[0])
    held = scalars['overhead/held_pct']
    assert [step for step, _ in held] == [line['step'] for line in decided] == [15], (held, decided)
    assert near(held[0][1], decided[0]['held_pct']), (held, decided)


def test_refused():
    blocked = os.path.join(HOME, 'file')
    open(blocked, 'w').close()
    error = train(*NEW, '--out', os.path.join(HOME, 'other'), '--steps', '1', '--tensorboard', blocked, status=2)
    assert blocked in error and error.count('\n') == 1, error


def test_reader():
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError:
        raise tap.Skip('TensorBoard is not installed')
    events = EventAccumulator(LOGS)
    events.Reload()
    assert [e.step for e in events.Scalars('train/loss')] == [1, 2, 3, 4, 5, 6]
    # a resumed run tests its open epoch again
    assert near(events.Scalars('test/top1')[-1].value, log('epoch')[-1]['test_top1'])
    assert len(events.Tags()['histograms']) == len(log('diagnose')[0]['layers'])


def main():
    assert crc32c(b'123456789') == 0xe3069283, 'the check value of CRC-32C'
    tap.need_device(BLANCH)
    command = [BLANCH, 'train', '--quiet', *NEW, '--out', RUN, '--steps', '4', '--diagnose', '--tensorboard', LOGS]
    done = subprocess.run(command, stderr=subprocess.PIPE, timeout=300)
    if b'protobuf-c' in done.stderr:
        tap.skip_all('built without protobuf-c')

    def run_is_made():
        assert done.returncode == 0, done.stderr.decode()[-300:]
    return tap.run([('a run with --tensorboard', run_is_made)] + tap.functions(globals()))


try:
    status = main()
finally:
    shutil.rmtree(HOME, ignore_errors=True)
sys.exit(status)
