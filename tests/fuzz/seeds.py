#!/usr/bin/env python3
"""Seeds of the fuzz targets: seeds.py FOLDER writes FOLDER/TARGET/NAME, and FOLDER/TARGET.dict with the words and
numbers that a fuzzer puts into texts."""
import gzip
import io
import json
import os
import re
import struct
import sys
import zipfile
import zlib

import onnx_seeds

NUMBERS = ('0', '-1', '0.5', '1e300', '-1e308', '1e-300', '1e999', '2147483647', '2147483648', '-2147483649',
           '4294967296', '9007199254740993', '9223372036854775808', '100000000000000016', 'null', 'true', '[]', '{}',
           '""', '[1,2,3,4]', '"x"', '"\\u0000"', 'nan', 'inf', '[[[[[[[[', '1e', '-')


# --- safetensors ---------------------------------------------------------------------------------

def tensors(entries, meta=None):
    """Header, zero byte and data, as tests/fuzz/safetensors.h takes them. entries: (name, dtype, shape, bytes)."""
    head, data = ({'__metadata__': meta} if meta else {}), b''
    for name, dtype, shape, values in entries:
        head[name] = {'dtype': dtype, 'shape': shape, 'data_offsets': [len(data), len(data) + len(values)]}
        data += values
    return json.dumps(head).encode() + b'\0' + data


def as_file(made):
    head, data = made.split(b'\0', 1)
    return struct.pack('<Q', len(head)) + head + data


SMALL = tensors([('a.weight', 'F32', [2, 3], bytes(24)), ('a.bias', 'F16', [2], bytes(4)), ('n', 'I64', [], bytes(8)),
                 ('b', 'BF16', [1, 0], b''), ('u', 'BOOL', [3], b'\1\0\1')],
                {'step': '3', 'epoch': '1', 'format': 'pt'})
SAFETENSORS = {'small': b'\1' + SMALL, 'file': b'\0' + as_file(SMALL), 'empty': b'\1{}\0', 'bare': b'\1{}'}


def checkpoint():
    ones = struct.pack('<2f', 1, 1)
    weights = [('bn.weight', 'F32', [2], ones), ('bn.bias', 'F32', [2], ones), ('fc.weight', 'F32', [2, 2], ones * 2),
               ('fc.bias', 'F32', [2], ones), ('bn.running_mean', 'F32', [2], ones),
               ('bn.running_var', 'F32', [2], ones), ('bn.num_batches_tracked', 'I64', [], b'\1' + bytes(7))]
    state = [(name + '.momentum_buffer', dtype, shape, values) for name, dtype, shape, values in weights[:4]]
    numbers = {'step': '3', 'epoch': '1', 'best_top1': '-1', 'train_loss': '2.5', 'train_count': '64',
               'train_top1': '6', 'train_top5': '30', 'train_s': '0.25'}
    budget = json.dumps([[1] * 13, [1] * 9, [1] * 9])
    pair = {'plain': (numbers, numbers), 'budget': (dict(numbers, overhead_budget=budget), numbers),
            'apart': (numbers, dict(numbers, step='4')), 'last': (dict(numbers, step='9007199254740992'),) * 2,
            'past': (dict(numbers, step='9223372036854775807'),) * 2}
    return {name: tensors(state, s) + b'\0\0\0\0' + tensors(weights, {'format': 'pt', 'step': w['step']})
            for name, (s, w) in pair.items()}


def abouts():
    view = {'channels': 3, 'size': [16, 20], 'augment': 'cifar', 'mean': [0.5] * 3, 'deviation': [0.25] * 3}
    said = {'model': 'smallcnn', 'norm': 'nd', 'classes': '["a","b"]', 'input': '[3,16,20]',
            'options': json.dumps({'block': 16, 'nd_eps': 1e-4, 'whiten': 'channels', 'cov_samples': '4F'}),
            'view': json.dumps(view)}
    network = {'input': [3, 16, 20], 'classes': 2, 'graph': [
        {'op': 'global_avgpool2d'}, {'op': 'flatten'},
        {'op': 'linear', 'name': 'fc', 'attrs': {'in_features': 3, 'out_features': 2, 'bias': True}}]}
    return {name: tensors([], about) for name, about in (
        ('whole', said), ('number', {k: v for k, v in dict(said, classes='2').items() if k != 'view'}),
        ('network', dict(said, model='x', norm='own', network=json.dumps(network))))}


def case(op, attrs, shapes):
    of = lambda name: ('I64', 8) if name == 'in.labels' else ('F32', 4)
    entries = [(name, of(name)[0], shape, bytes(of(name)[1] * product(shape))) for name, shape in shapes.items()]
    return tensors(entries, {'kind': 'layer', 'op': op, 'attrs': json.dumps(attrs), 'mode': 'train',
                             'tolerance': '1e-4'})


def product(shape):
    all_ = 1
    for size in shape:
        all_ *= size
    return all_


CONV = {'in_channels': 2, 'out_channels': 3, 'kernel': [3, 3], 'stride': 1, 'padding': 1, 'dilation': 1,
        'groups': 1, 'bias': True}
ND = dict(CONV, block=2, n_iter=5, eps=1e-5, momentum=0.1, cov_sampling_stride=3, freeze=False, freeze_iter=100)
CASES = {
    'relu': case('relu', {}, {'in.x': [2, 3], 'in.grad_y': [2, 3]}),
    'conv2d': case('conv2d', CONV, {'in.x': [1, 2, 3, 3], 'in.weight': [3, 2, 3, 3], 'in.bias': [3],
                                    'in.grad_y': [1, 3, 3, 3]}),
    'nd_conv2d': case('nd_conv2d', ND, {'in.x': [1, 2, 3, 3], 'in.weight': [3, 2, 3, 3], 'in.bias': [3]}),
    'add': case('add', {}, {'in.x': [1, 2, 2, 2], 'in.x2': [1, 2, 2, 2]}),
    'maxpool2d': case('maxpool2d', {'kernel': 2, 'stride': 2, 'padding': 0}, {'in.x': [1, 1, 4, 4]}),
    'linear': case('linear', {'in_features': 3, 'out_features': 2, 'bias': True}, {'in.x': [2, 3]}),
    'cross_entropy': case('softmax_cross_entropy', {}, {'in.x': [1, 2, 2, 3], 'in.labels': [1, 2, 3]}),
    'embedding': case('embedding', {'count': 3, 'channels': 2}, {'in.labels': [2], 'in.weight': [3, 2]}),
    'more': case('binary_cross_entropy', {'sum': True}, {'in.x': [1, 2, 2, 3], 'in.x2': [1, 2, 2, 3],
                                                         'in.x3': [1, 1]}),
}

def trace(network):
    x, logits = [1, 2, 1, 8, 8], [2, 3]
    entries = [('data.x', 'F32', x, bytes(4 * product(x))), ('data.y', 'I64', [1, 2], struct.pack('<2q', 0, 2)),
               ('out.logits', 'F32', logits, bytes(4 * product(logits)))]
    return tensors(entries, {'kind': 'trace', 'network': network, 'lr': '0.1', 'momentum': '0.9',
                             'weight_decay': '1e-3'})


# --- JSON ----------------------------------------------------------------------------------------

HEADER = {'format': 2, 'date': '2026-11-28T12:00:00Z', 'blanch': {'version': '0.1.0', 'commit': 'abc'},
          'host': {'cpu': 'c', 'cores': 2, 'memory': 1e9, 'os': 'o', 'kernel': 'k'}}
DEVICE = {'platform': 'p', 'name': 'd', 'driver': 'v', 'version': '1.2', 'compute_units': 2, 'memory': 1e9,
          'kind': 'cpu'}
CONFIG = dict(HEADER, kind='train', model='smallcnn', norm='nd', data='mnist:d', batch=4, epochs=1, steps=2,
              optimiser='sgd', lr=0.1, schedule='multistep:1,2:0.5', momentum=0.9, nesterov=True, weight_decay=0.001,
              seed=0, augment='none', device=DEVICE, max_alloc=1e8, block=64, nd_iter=5, nd_eps=1e-5, nd_momentum=0.1,
              whiten='channels', cov_samples='4F', warmup_epochs=0.5,
              label_smoothing=0.1, clip_grad_norm=1,
              no_decay='norm-bias', freeze_layers='conv1',
              mixup=0.2, cutmix=1, auto_augment='ta', random_erase=0.25, accumulate=2, class_weights='balanced',
              ema=0.5, early_stop=2, save_every=2, keep=3, init='i', new_head=True,
              sampling_stride=3, block_fc=512, refresh=2, constant_gradient=0, channel_deconv=0, freeze=1, recompute=1,
              precision='fp16',
              classes=2, class_names=['a', 'b'], engines={'x': 'direct'}, parameters=10, steps_per_epoch=2,
              data_found={'train': {'images': 8, 'names': '0' * 16}, 'test': {'images': 4, 'names': 'f' * 16},
                          'unread': {'.tif': 2}, 'test_limit': '1' * 16, 'old_division': True, 'best_by': 'test'},
              drop_last=True, tensorboard='t',
              view={'channels': 1, 'size': 28, 'augment': 'none', 'mean': [0.5], 'deviation': [0.25]})
CONFIGS = {'nd': CONFIG,
           'adamw': {k: v for k, v in dict(CONFIG, norm='bn', optimiser='adamw', beta1=0.9, beta2=0.999, eps=1e-8,
                                           schedule='cosine').items() if k not in ('momentum', 'nesterov')},
           'budget': {k: v for k, v in dict(CONFIG, overhead_budget='20%').items()
                      if k not in ('refresh', 'freeze_layers', 'accumulate')},
           'auto': {k: v for k, v in dict(CONFIG, overhead_budget='20%', block='auto', exact=False, blocks={
               'conv1': {'block': 3}, 'conv3': {'block': 16, 'cov_samples': '4F'}}).items()
               if k not in ('refresh', 'freeze_layers', 'accumulate')},
           'found': dict(CONFIG, data_found={'best_by': 'train', 'old_division': True}),
           'settings': dict(HEADER, kind='train', classes=2, view=CONFIG['view'], device=DEVICE, settings={
               k: v for k, v in dict(CONFIG, device='cpu').items() if k not in HEADER})}
WORK = {'ms': 1, 'device_ms': 1, 'host_ms': 0.1, 'launches': 3, 'bytes': 1e6, 'operations': 1e9, 'arithmetic': 0.5,
        'bandwidth': 0.5}
LAYER = {'name': 'c', 'op': 'conv2d', 'role': 'weights', 'ms': 1, 'phases': {'forward': 1, 'update': 0.2},
         'quartile1_ms': 0.9, 'quartile3_ms': 1.1, 'work': {'forward': WORK}, 'work_all': WORK}
MEASURED = {'layers': [LAYER], 'work': {'forward': WORK}, 'work_all': WORK, 'engines': {'c': {'forward': 'direct'}},
            'limits': {'operations_per_s': 1e10, 'bytes_per_s': 1e9}, 'step_ms': 3.5, 'coverage': 0.9}
EPOCHS = [{'type': 'epoch', 'epoch': e, 'train_loss': 2, 'train_top1': 10 * e, 'train_top5': 50, 'test_loss': 2,
           'test_top1': 11 * e, 'test_top5': 50, 'train_s': 2, 'test_s': 1} for e in (1, 2)]
STEPS = [{'type': 'step', 'step': s, 'epoch': 1, 'loss': 2.5 - s / 8, 'lr': 0.1, 'images_per_s': 100} for s in (1, 2)]
DECISION = {'step': 3, 'reason': 'r', 'base_ms': 1, 'bn_ms': 1, 'allowance_ms': 1, 'least_pct': 1, 'held_pct': 2,
            'layers': [{'name': 'c', 'interval': 2, 'refresh_ms': 1, 'drift': 0.1}]}


def run(norm, setting):
    return dict(MEASURED, device='d', norm=norm, setting=setting, settings={'refresh': 2}, mean_ms=4,
                images_per_s=1234.5, inference_ms=1, recording_cost=1.01, last_loss=2.3, target_top1=50, target_s=3,
                curve=[{'step': 1, 'seconds': 0.5, 'loss': 2.5}, {'step': 2, 'seconds': 1, 'loss': 2}], epochs=EPOCHS,
                budget={'budget_pct': 20, 'baseline': 'y', 'decisions': [DECISION]})


def pair(setting):
    row = {'name': 'c', 'bn_name': 'b', 'op': 'conv2d', 'role': 'weights', 'bn_ms': 1, 'nd_ms': 2,
           'bn_phases': {'forward': 1}, 'nd_phases': {'covariance': 1}}
    return {'device': 'd', 'setting': setting, 'settings': {'refresh': 2}, 'overhead_pct': 10, 'overhead_mean_pct': 11,
            'overhead_bound_pct': 9, 'bound_steps': 5, 'bn_step_ms': 3, 'nd_step_ms': 4, 'bn_mean_ms': 3,
            'nd_mean_ms': 4, 'layers': [row, dict(row, name='r', op='relu')]}


COMPARE = dict(HEADER, kind='compare', model='m', data='d', augment='none', batch=8, steps=4, epochs=2, lr=0.1,
               schedule='cosine', optimiser='sgd', precision='fp32', seed=0, device=DEVICE, settings={'model': 'm'},
               devices=[dict(DEVICE, memory_bytes=1e9, clock_mhz=2000, max_alloc_bytes=1e8, device_name='dd')],
               runs=[run('bn', ''), run('nd', ''), run('nd', 'x')], pairs=[pair(''), pair('x')])
BENCH = dict(HEADER, kind='bench', model='m', norm='nd', batch=8, device='d', steps=3, min_ms=1, images_per_s=5e3,
             startup_ms=30, device_bytes=1e6, host_bytes=1e6, **MEASURED)
SUITE_ROW = {'name': 'm-nd-8', 'model': 'm', 'norm': 'nd', 'setting': '--block 16', 'precision': 'fp32',
             'mode': 'train', 'status': 'measured', 'ended': 'spread', 'batch': 8, 'steps': 20,
             'seconds': 3, 'ms': 4, 'quartile1_ms': 3,
             'quartile3_ms': 4.1, 'min_ms': 3, 'mean_ms': 4, 'images_per_s': 2000, 'joules_per_image': 0.1, 'watts': 9,
             'clock_mhz': 2000, 'planned_bytes': 1e6, 'shapes_left': 1, 'sustained_ms': 5,
             'sustained_images_per_s': 1600, 'phases': {'forward': 1}}
REACHED = dict(SUITE_ROW, name='m-to-85', mode='accuracy', target_top1=85, target_s=3, target_s_least=2,
               target_s_most=4, target_steps=50, runs=3, reached=3, best_top1=86)
LIMITS = {'operations_per_s': 1e10, 'bytes_per_s': 1e9}
SUITE = dict(HEADER, kind='suite', device=DEVICE, settings={'quick': True}, suite={
    'set': 'quick', 'version': 1, 'rows_of_set': 12, 'seconds': 60, 'sustain_seconds': 300, 'comparable': True,
    'complete': False, 'incomparable': 'x', 'note': 'n', 'energy': 'e', 'clock': 'c', 'load_start': 1, 'load_end': 2,
    'limits': {'start': LIMITS, 'end': LIMITS, 'kept': LIMITS}, 'cases': {'passed': 3, 'failed': 0},
    'checks': [{'name': 'm-bn', 'passed': True, 'largest_error': 1e-6, 'message': 'x'}]}, rows=[
        SUITE_ROW, REACHED, {'name': 'f', 'model': 'm', 'status': 'failed', 'reason': 'r', 'mode': 'inference'}])
REPORTS = {'suite': SUITE, 'compare': COMPARE, 'bench': BENCH, 'one': dict(COMPARE, runs=[run('bn', '')], pairs=[])}
LEDGER = dict(HEADER, kind='ledger', **MEASURED)
LOG = '\n'.join(map(json.dumps, STEPS + EPOCHS)) + '\n'


EVAL = {'kind': 'eval', 'format': 2, 'split': 'test', 'data': 'folder:x', 'weights': 'w', 'images': 6, 'loss': 0.5,
        'top1': 50, 'top5': 100, 'confusion': [[2, 1], [2, 1]],
        'classes': [{'name': 'a', 'images': 3, 'precision': 50, 'recall': 66.7, 'f1': 57.1},
                    {'name': 'b', 'images': 3, 'precision': None, 'recall': 33.3, 'f1': 40}]}


def directory(config, evaluation=EVAL):
    return b'\0'.join(text.encode() for text in (json.dumps(config), LOG, json.dumps(LEDGER), json.dumps(evaluation)))


def cell(*parts):
    return '\0'.join(parts)


def node(id_, op, inputs, out, attrs=None, **more):
    return dict({'id': id_, 'op': op, 'inputs': inputs, 'out': out}, **({'attrs': attrs} if attrs else {}), **more)


CONV1 = dict(CONV, in_channels=1, out_channels=2)
NETWORK = {
    'num_classes': 2, 'input': [1, 4, 4], 'trainable': 26, 'buffers': [],
    'parameters': [['c.weight', [2, 1, 3, 3]], ['c.bias', [2]], ['fc.weight', [2, 2]], ['fc.bias', [2]]],
    'graph': [node('x', 'input', [], [1, 4, 4]), node('c', 'conv2d', ['x'], [2, 4, 4], CONV1, name='c'),
              node('r', 'relu', ['c'], [2, 4, 4]), node('s', 'add', ['r', 'c'], [2, 4, 4]),
              node('m', 'maxpool2d', ['s'], [2, 2, 2], {'kernel': 2, 'stride': 2}),
              node('g', 'global_avgpool2d', ['m'], [2, 1, 1]), node('f', 'flatten', ['g'], [2, 1, 1]),
              node('fc', 'linear', ['f'], [2, 1, 1], {'in_features': 2, 'out_features': 2, 'bias': True}, name='fc')]}
SMALLEST = {'input': [2], 'graph': [node('x', 'input', [], [2]), node('d', 'dropout', ['x'], [2], {'p': 0.5})]}
# Every key of a node, what may be left out, and every norm's way.
ND_LAYER = dict(CONV1, block=1, n_iter=3, eps=1e-5, momentum=0.1, cov_sampling_stride=[3, 3], freeze=True,
                freeze_iter=100, refresh=2, whiten_channels=True, cov_samples=-4)
BARE = [{'op': 'conv2d', 'name': 'a', 'attrs': {'out_channels': 2, 'kernel': 3, 'padding': 1, 'bias': False},
         'nd': {'name': 'b', 'block': 1, 'n_iter': 7, 'freeze': True}},
        {'op': 'batchnorm2d', 'name': 'n'}, {'op': 'batchnorm2d', 'name': 'idle', 'unused': True},
        {'op': 'relu6', 'id': 'r'}, {'op': 'cat', 'inputs': ['r', 'a', 'r'] * 4},
        {'op': 'conv2d', 'attrs': {'out_channels': 4, 'kernel': 1, 'groups': 2}, 'keep': True},
        {'op': 'batchnorm2d', 'keep': True}, {'op': 'slice_channels', 'attrs': {'begin': 1, 'end': None}},
        {'op': 'sigmoid'}, {'op': 'mul', 'inputs': ['7', '8']}, {'op': 'global_avgpool2d'}, {'op': 'flatten'},
        {'op': 'linear', 'attrs': {'out_features': 3}, 'nd': {'block': 3}}]
NETWORKS = {'small': NETWORK, 'smallest': SMALLEST,
            'bare': dict(HEADER, input=[1, 4, 4], nd={'block_fc': 2}, graph=BARE),
            'nd': {'input': [1, 4, 4], 'graph': [node('x', 'input', [], [1, 4, 4]),
                                                 node('c', 'nd_conv2d', ['x'], [2, 4, 4], ND_LAYER, name='c'),
                                                 {'op': 'global_avgpool2d'}]},
            'list': {'input': [1, 4, 4], 'parameters': [], 'buffers': [], 'num_classes': 2, 'trainable': 0,
                     'graph': [{'op': 'cat', 'inputs': ['input', 'input']},
                               {'op': 'avgpool2d', 'attrs': {'kernel': 4}}]}}
SET = ('GEMMK=0,KREG=1,KWG=16,KWI=1,MDIMA=1,MDIMC=1,MWG=16,NDIMB=8,NDIMC=8,NWG=128,SA=0,SB=0,STRM=0,STRN=0,VWM=16,'
       'VWN=4')
ENTRY = {'choice': SET, 'ms': 1.5, 'sets': 3, 'shipped_ms': 2, 'shape': 'shape', 'device': 'd', 'driver': 'v',
         'device_hash': '%016x' % 1, 'kernels': '%016x' % 2, 'limit': 0, 'measured': '2026', 'load': 1}

# --- data, texts ---------------------------------------------------------------------------------

IMAGES = struct.pack('>IIII', 2051, 1, 2, 2) + bytes(4)
LABELS = struct.pack('>II', 2049, 1) + b'\7'
IDX = {'images': b'\1' + IMAGES, 'packed-images': b'\1' + gzip.compress(IMAGES, mtime=0), 'labels': b'\0' + LABELS,
       'packed-labels': b'\0' + gzip.compress(LABELS, mtime=0)}
CIFAR = {'10': b'\4' + b'\n'.join(b'c%d' % i for i in range(10)) + b'\0\1\2\3',
         '100': b'\5' + b'\n'.join(b'x%d' % i for i in range(100)) + b'\0\1\2\3',
         'raw': b'\2\0' + bytes(3073)}


def png_of(width, height, depth, kind):
    """A PNG of so many bits a pixel, in grey (0) or with a palette (3), rows by every filter."""
    chunk = lambda name, data: struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))
    row = bytes(range(1, 1 + (width * depth + 7) // 8))
    palette = chunk(b'PLTE', bytes(3 << depth)) if kind == 3 else b''
    header = chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, depth, kind, 0, 0, 0))
    return (b'\x89PNG\r\n\x1a\n' + header + palette +
            chunk(b'IDAT', zlib.compress(b''.join(bytes((y % 5,)) + row for y in range(height)))) + chunk(b'IEND', b''))


FOLDERS = (('a/1.png', 'a/2.PGM', 'b/3.jpg', 'b/deep/4.jpeg', 'b/x.tif', 'b/none', '.hidden/5.png'),
           ('train/a/1.png', 'train/b/2.png', 'test/a/3.png', 'test/b/~4.png', 'val/a/5.png', 'README.md'),
           ('Training/a/1.png', 'Training/b/2.png', 'Validation/b/3.png', 'extra/4.png', 'test/5.png'),
           ('a/train/1.png', 'a/test/2.png', 'b/train/3.png'), ('train/1.png', 'test/2.png', 'cats/3.png'),
           ('data/a/1.png', 'data/b/2.png'), ('train-2/a/1.png', 'train-2/b/2.png'), ('1.png',))
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'reference', 'images.json'),
          encoding='utf-8') as f:
    IMAGES_OF_KINDS = {case['name']: bytes.fromhex(case['file']) for case in json.load(f)}
MASKS = [png_of(7, 5, depth, kind) for depth, kind in ((8, 0), (2, 3), (1, 0), (4, 3))]
SPLITS = ('0train train/a/1.pgm\nval train/b/2.pgm\r\ntest\ttrain/b/deep/3 x.pgm\n\ntest test/a/1.pgm\n',
          '1train 0\ntrain 1\nval 4\ntest 5\n', '0train test/a/1.pgm', '2train train/a/1.pgm\n', '0\n', '0train x\n')
LINES = ('--model smallcnn --norm nd --batch 8 --device 0:0 --seed 3 --block 32 --nd-iter 5 --nd-eps 1e-3',
         '--model=vgg16 --norm=bn --max-alloc=512M --json --optimiser adamw --lr 1e-3 --beta1 0.9 --beta2 0.99',
         '--data x --steps 10 --model m --norm none --recompute auto --precision bf16 --no-tune -- --operand',
         'operand --whiten-grad constant --channel-deconv 8 --freeze --refresh 4 --sampling-stride 3 --block-fc 512',
         '--modle x', '--norm bn --model m --nd-momentum 0.1 --momentum 0.9 --nesterov --weight-decay 1e-3 --eps 1e-8')
SPECS = (('synthetic:3x4x4:10', 'folder:/nowhere', 'mnist:/x', 'cifar10:', 'fashion-mnist'),
         ('0:1/2', 'gpu', 'GPU two', 'cpu', '', '1:0'),
         ('--refresh 5; small: --block 32; --overhead-budget 20%', 'a: --nd-iter 3 --nd-eps 1e-3'),
         ('multistep:30,60,80:0.2', 'cosine', 'constant', 'multistep:1,2', 'step:2:0.5', 'onecycle:0.25',
          'polynomial:2'),
         ('512M', '4GiB', '-1e-3', '12', '0x1p3'),
         ('20%', 'none', json.dumps([[1] * 13, [1] * 9, [1] * 9])), (SET,))


def numbered(values):
    return {'%d' % i: value for i, value in enumerate(values)}


def fnv(data):
    value = 0xcbf29ce484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001b3 & 0xffffffffffffffff
    return value


def program(body, key=b'key'):
    rest = struct.pack('<QQ', os.geteuid(), len(key)) + body + key
    return b'blanch2\0' + struct.pack('<QQ', len(rest), fnv(rest)) + rest


def npy(kind, shape, values):
    head = repr({'descr': kind, 'fortran_order': False, 'shape': tuple(shape)}).encode()
    head += b' ' * (-(len(head) + 11) % 64) + b'\n'
    return b'\x93NUMPY\1\0' + struct.pack('<H', len(head)) + head + bytes(values)


def npz(packed, **arrays):
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
        for name, (kind, shape, values) in arrays.items():
            archive.writestr(zipfile.ZipInfo(name + '.npy'), npy(kind, shape, values))
    return file.getvalue()


NPZ = {'one': npz(False, images=('|u1', (12, 2, 3), range(72)), labels=('<i2', (12,), [0, 0, 1, 0] * 6)),
       'packed': npz(True, train_images=('|u1', (4, 2, 2, 3), range(48)), train_labels=('|u1', (4, 1), [0, 1, 2, 0]),
                     test_images=('|u1', (1, 2, 2, 3), range(12)), test_labels=('|u1', (1, 1), [2])),
       'planes': npz(False, x_train=('|u1', (2, 2, 20, 17), bytes(1360)),
                     y_train=('<u4', (2,), [0] * 4 + [1, 0, 0, 0])),
       'named': npz(True, images=('|u1', (2, 2, 2), range(8)), labels=('|u1', (2,), [0, 1]),
                    classes=('<U3', (3,), 'cat\0\0\0d\u00f6g'.encode('utf-32-le'))),
       'bytes': npz(False, images=('|u1', (2, 2, 2), range(8)), labels=('|u1', (2,), [0, 1]),
                    class_names=('|S4', (2,), b'cat\0dogs'))}


def old_text(data):
    return (b'U' + bytes([len(data)]) if len(data) < 256 else b'T' + struct.pack('<I', len(data))) + data


def pickled(labels, rows, row):
    """A batch as Python 2 saved those of CIFAR, less memos that are not asked for."""
    numbers = b''.join(b'K' + bytes([label]) for label in labels)
    array = (b'cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\0\x85q\t' + old_text(b'b') +
             b'q\n\x87q\x0bRq\x0c(K\1M' + struct.pack('<H', len(labels)) + b'M' + struct.pack('<H', row) +
             b'\x86q\rcnumpy\ndtype\nq\x0e' + old_text(b'u1') + b'q\x0fK\0K\1\x87q\x10Rq\x11(K\3' + old_text(b'|') +
             b'q\x12NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tq\x13b\x89' + old_text(rows) + b'q\x14tq\x15b')
    return (b'\x80\2}q\1(' + old_text(b'batch_label') + b'q\2' + old_text(b'training batch 1 of 5') + b'q\3' +
            old_text(b'labels') + b'q\4]q\5(' + numbers + b'e' + old_text(b'data') + b'q\6' + array +
            old_text(b'filenames') + b'q\x16]q\x17(' + b''.join(old_text(b'%d.png' % label) for label in labels) +
            b'eu.')


SEEDS = {
    'safetensors': SAFETENSORS,
    'cell': {'done': cell(json.dumps(CONFIG), LOG, '', 'cifar10-resnet18d-nd-20-a1'),
             'steps': cell('', LOG, '', 'd-m-n-bn-1-s500-a12'), 'diverged': cell('{}', LOG, '{"message": "m"}', 'x')},
    'about': abouts(),
    'checkpoint': checkpoint(),
    'case': CASES,
    'config': CONFIGS,
    'report': REPORTS,
    'directory': {'nd': directory(CONFIG), 'settings': directory(CONFIGS['settings'])},
    'log': {'whole': LOG, 'cut': LOG[:-20], 'test': '{"type":"test","step":2}\n'},
    'network': NETWORKS,
    'npz': NPZ,
    'pickle': {'three': pickled([3, 1, 2], bytes(range(12)), 4), 'many': pickled([7] * 80, bytes(320), 4)},
    'onnx': onnx_seeds.SEEDS,
    'trace': {name: trace(name) for name in ('smallcnn-bn', 'smallcnn-nd', 'resnet18d-none')},
    'tuning': {'whole': ENTRY},
    'limits': {'whole': {'device': 'd', 'driver': 'v', 'operations_per_s': 1e10, 'bytes_per_s': 1e9},
               'other': {'device': 'e', 'driver': 'v', 'operations_per_s': 1e10, 'bytes_per_s': 1e9}},
    'program': {'whole': program(b'hello'), 'empty': program(b'')},
    'image': {name: data for name, data in IMAGES_OF_KINDS.items() if len(data) < 2000},
    'mask': numbered(MASKS),
    'folder': numbered('\n'.join(names) for names in FOLDERS),
    'split': numbered(SPLITS),
    'idx': IDX,
    'cifar': CIFAR,
    'options': numbered(line.replace(' ', '\n') for line in LINES),
    'spec': {'%d-%d' % (k, i): bytes([k]) + text.encode() for k, group in enumerate(SPECS)
             for i, text in enumerate(group)},
    'operation': numbered(bytes([op, 0, 0, 1, 3, 9, 9, 1, 3, 9, 9]) + bytes([1, 3, 1, 1, 1] * 5)
                          for op in range(19)),
}
BINARY = ('\\xff\\xff\\xff\\xff', '\\x7f\\xff\\xff\\xff', '\\x80', '\\x1f\\x8b\\x08', '\\x08\\x03', '\\x08\\x01')
BYTES = ('cifar', 'idx', 'image', 'mask', 'npz', 'onnx', 'operation', 'pickle', 'program')  # the others read texts


def words(seeds):
    """What stands in quotes or begins with dashes: keys and texts that a reader may know."""
    text = ' '.join(data.decode('latin-1') for data in seeds)
    return sorted(set(re.findall(r'"[\w./%: -]{1,40}"', text) + re.findall(r'--[a-z-]+', text)))


def quoted(word):
    return '"%s"\n' % word.replace('\\', '\\\\').replace('"', '\\"')


def main():
    for target, seeds in SEEDS.items():
        folder = os.path.join(sys.argv[1], target)
        os.makedirs(folder, exist_ok=True)
        for name, seed in seeds.items():
            text = json.dumps(seed) if isinstance(seed, dict) else seed
            seeds[name] = text.encode() if isinstance(text, str) else text
            with open(os.path.join(folder, name), 'wb') as f:
                f.write(seeds[name])
        with open(folder + '.dict', 'w', encoding='utf-8') as f:
            f.writelines(('"%s"\n' % word for word in BINARY) if target in BYTES else
                         map(quoted, words(seeds.values()) + list(NUMBERS)))


if __name__ == '__main__':
    main()
