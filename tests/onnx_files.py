#!/usr/bin/env python3
"""ONNX: onnx_files.py BLANCH [--python PYTHON] [TEST...]. Files go out and come back with the same probabilities; what
exporters write is read; what is malformed, or lies outside, is refused in one line. What needs PyTorch, onnx and ONNX
Runtime runs in PYTHON, where that has them. Prints TAP."""
import json
import os
import random
import re
import struct
import subprocess
import sys
import tempfile

import pictures
import tap
from onnx_messages import field, many, model, node, tensor, value

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
ARGUMENTS = sys.argv[1:]
PYTHON = sys.executable
if '--python' in ARGUMENTS:
    at = ARGUMENTS.index('--python')
    PYTHON = ARGUMENTS[at + 1]
    del ARGUMENTS[at:at + 2]
BLANCH = os.path.abspath(ARGUMENTS[0])
WORK = tempfile.TemporaryDirectory()
DATA = 'synthetic:3x32x32:10'


def path(name):
    return os.path.join(WORK.name, name)


def put(name, data):
    with open(path(name), 'wb') as f:
        f.write(data)
    return path(name)


def run(*command):
    return subprocess.run((BLANCH,) + command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True)


def blanch(*command):
    done = run(*command)
    tap.check(done.returncode == 0, '%s: %s' % (' '.join(command), done.stderr))
    return done.stdout


def refused(words, *command):
    """Exit status 2 and one line that has these words."""
    done = run(*command)
    lines = [line for line in done.stderr.splitlines() if not line.startswith('warning:')]
    tap.check(done.returncode == 2 and len(lines) == 1 and lines[0].startswith('blanch: '),
              '%s: status %d: %s' % (' '.join(command), done.returncode, done.stderr))
    for word in [words] if isinstance(words, str) else words:
        tap.check(word in lines[0], '%r is not in %r' % (word, lines[0]))
    return lines[0]


def picture():
    return put('picture.png', pictures.noise_png(32, random.Random(4)))


def predicted(*options):
    out = json.loads(blanch('predict', picture(), '--json', '--device', 'cpu', *options))
    return {c['class']: c for c in out['images'][0]['classes']}


def compare(one, other, most=2e-5):
    """The probabilities of classes that both name."""
    both = set(one) & set(other)
    tap.check(len(both) >= 4, '%s %s' % (one, other))
    off = max(abs(one[c]['probability'] - other[c]['probability']) for c in both)
    tap.check(off <= most, 'probabilities are %g apart' % off)


def trained(name, *options):
    """The directory of a short run, made once."""
    if os.path.exists(path(name)):
        return path(name)
    blanch('train', '--data', DATA, '--steps', '3', '--batch', '16', '--device', 'cpu', '--out', path(name), *options)
    return path(name)


# --- out and back --------------------------------------------------------------------------------

def test_networks_come_back_with_the_same_probabilities():
    for norm, more in (('bn', ()), ('nd', ('--block', '8')), ('nd', ('--whiten', 'channels', '--block', '8')),
                       ('bn', ('--channel-deconv', '48')), ('gn', ()),
                       ('nd', ('--nd-keep-norm', '--block', '4'))):
        name = 'back-%s-%d' % (norm, len(more)) + ''.join(more[:1] if len(more) == 3 else ())
        run_ = trained(name, '--model', 'smallcnn', '--norm', norm, *more)
        out = path(name + '.onnx')
        blanch('export', '--run', run_, '--onnx', out)
        compare(predicted('--run', run_), predicted('--model', out))


def test_class_names_mean_and_deviation_go_with_it():
    run_ = trained('back-bn-0', '--model', 'smallcnn', '--norm', 'bn')
    blanch('export', '--run', run_, '--onnx', path('meta.onnx'))
    one, other = predicted('--run', run_), predicted('--model', path('meta.onnx'))
    tap.check({c: one[c]['name'] for c in one} == {c: other[c]['name'] for c in other}, '%s %s' % (one, other))
    done = run('predict', picture(), '--model', path('meta.onnx'), '--device', 'cpu')
    tap.check('normalised' not in done.stderr, done.stderr)


def test_half_precision_is_near():
    run_ = trained('back-bn-0', '--model', 'smallcnn', '--norm', 'bn')
    blanch('export', '--run', run_, '--onnx', path('half.onnx'), '--precision', 'fp16')
    blanch('export', '--run', run_, '--onnx', path('whole.onnx'))
    tap.check(os.path.getsize(path('half.onnx')) < 0.6 * os.path.getsize(path('whole.onnx')))
    compare(predicted('--run', run_), predicted('--model', path('half.onnx')), most=1e-3)


def test_eight_bits():
    """The file is read back with the values that 8 bits keep, and what it costs is printed as it is."""
    run_, out = trained('back-nd-2', '--model', 'smallcnn', '--norm', 'nd', '--block', '8'), path('eight.onnx')
    said = blanch('export', '--run', run_, '--onnx', out, '--precision', 'int8', '--calibrate', '100')
    found = re.search(r'test images: top-1 ([0-9.]+) % before, ([0-9.]+) % with 8 bits \(ranges of 100 train', said)
    blanch('export', '--run', run_, '--onnx', path('float.onnx'))
    tap.check(os.path.getsize(out) < 0.45 * os.path.getsize(path('float.onnx')), os.path.getsize(out))
    one, other = predicted('--run', run_), predicted('--model', out)
    compare(one, other, most=0.1)
    tap.check(any(one[c]['probability'] != other[c]['probability'] for c in set(one) & set(other)), 'nothing is lost')
    measured = json.loads(blanch('eval', '--model', out, '--data', DATA, '--device', 'cpu', '--json'))
    tap.check(found and '%.2f' % measured['top1'] == found[2], '%s %s' % (said, measured['top1']))
    refused('does not train', 'train', '--model', out, '--norm', 'none', '--data', DATA, '--steps', '1', '--out',
            path('eight'))
    refused('give --onnx', 'export', '--run', run_, '--safetensors', path('x.safetensors'), '--precision', 'int8')
    refused('--data is missing', 'export', '--weights', run_ + '/last.safetensors', '--model', 'smallcnn', '--norm',
            'nd', '--block', '8', '--onnx', path('x.onnx'), '--precision', 'int8')


OPERATIONS = ['gelu', 'silu', 'hardswish', 'hardsigmoid', 'tanh', 'sigmoid', 'relu6', 'relu']


def every_operation(written=False):
    """written: also those whose form is written and not read."""
    conv = {'in_channels': 3, 'out_channels': 8, 'kernel': 3, 'stride': 2, 'padding': 1, 'dilation': 1, 'groups': 1,
            'bias': True}
    wide = dict(conv, in_channels=8, stride=1, groups=4)
    turned = {'in_channels': 8, 'out_channels': 8, 'kernel': [2, 3], 'stride': 2, 'padding': [0, 1],
              'output_padding': [0, 1], 'groups': 2}
    nodes = [('c', 'conv2d', ['x'], conv), ('b', 'batchnorm2d', ['c'], {'channels': 8, 'eps': 1e-3, 'momentum': 0.1})]
    for op in OPERATIONS:
        nodes.append((op, op, [nodes[-1][0]], {}))
    nodes += [('leaky', 'leaky_relu', ['relu'], {'slope': 0.1}), ('elu', 'elu', ['leaky'], {'alpha': 0.5}),
              ('shuffle', 'channel_shuffle', ['elu'], {'groups': 2}),
              ('d', 'conv2d', ['shuffle'], wide), ('n', 'layernorm', ['d'], {'channels': 8, 'eps': 1e-6}),
              ('p', 'linear', ['n'], {'in_features': 8, 'out_features': 16, 'bias': True}),
              ('pg', 'gelu', ['p'], {}), ('q', 'linear', ['pg'], {'in_features': 16, 'out_features': 8, 'bias': True}),
              ('s', 'scale', ['q'], {}), ('sd', 'stochastic_depth', ['s'], {'p': 0.2}), ('a', 'add', ['sd', 'c'], {}),
              ('up', 'maxpool2d', ['a'], {'kernel': 3, 'stride': 2, 'ceil_mode': True}),
              ('m', 'maxpool2d', ['up'], {'kernel': 3, 'stride': 1, 'padding': 1}),
              ('w', 'avgpool2d', ['m'], {'kernel': 3, 'stride': 1, 'padding': 1, 'count_include_pad': False}),
              ('v', 'avgpool2d', ['w'], {'kernel': 2, 'stride': 1, 'padding': 1}),
              ('l', 'slice_channels', ['v'], {'begin': 0, 'end': 4}), ('h', 'slice_channels', ['v'], {'begin': 4}),
              ('t', 'cat', ['h', 'l'], {}), ('sq', 'global_avgpool2d', ['t'], {}),
              ('se', 'linear', ['sq'], {'in_features': 8, 'out_features': 8, 'bias': True}),
              ('g', 'sigmoid', ['se'], {}), ('mul', 'mul', ['t', 'g'], {}),
              ('alone', 'batchnorm2d', ['mul'], {'channels': 8, 'eps': 1e-5, 'momentum': 0.1}),
              ('turned', 'conv_transpose2d', ['alone'], turned),
              ('folded', 'batchnorm2d', ['turned'], {'channels': 8, 'eps': 1e-5, 'momentum': 0.1}),
              ('near', 'upsample', ['folded'], {'scale': [1, 2]}),
              ('between', 'upsample', ['near'], {'out': [9, 9], 'bilinear': True}),
              ('ps', 'pixel_shuffle', ['between'], {'factor': 2, 'top': 1, 'bottom': 2}),
              ('cut', 'pixel_shuffle', ['ps'], {'factor': 1, 'left': 3, 'right': 1}),
              ('drop', 'dropout', ['cut'], {'p': 0.3}), ('f', 'flatten', ['drop'], {}),
              ('fc', 'linear', ['f'], {'in_features': 420, 'out_features': 10, 'bias': True})]
    if written:
        nodes[-2:] = [('gn', 'group_norm', ['drop'], {'groups': 2}), ('tanh2', 'gelu', ['gn'], {'tanh': True}),
                      ('even', 'adaptive_avgpool2d', ['tanh2'], {'out': [4, 3]}),
                      ('mean', 'avgpool2d', ['even'], {'kernel': 2, 'stride': 2, 'ceil_mode': True}),
                      ('f', 'flatten', ['mean'], {}), ('fc', 'linear', ['f'], {'out_features': 10})]
    graph = [{'id': 'x', 'op': 'input', 'inputs': [], 'out': [3, 32, 32]}]
    graph += [{'id': i, 'op': op, 'inputs': inputs, 'attrs': attrs} for i, op, inputs, attrs in nodes]
    return {'input': [3, 32, 32], 'graph': graph}


def test_every_operation_comes_back():
    put('every.json', json.dumps(every_operation()).encode())
    run_ = trained('every', '--model', path('every.json'))
    blanch('export', '--run', run_, '--onnx', path('every.onnx'), '--safetensors', path('every.safetensors'))
    names = set(safetensors(path('every.safetensors')))
    tap.check(names <= set(safetensors(run_ + '/last.safetensors')), names)     # no constants of operations
    compare(predicted('--run', run_), predicted('--model', path('every.onnx')))


def test_all_that_follows_a_layer_is_folded():
    kinds = {'b': 'batchnorm2d', 's': 'scale', 'd': 'dropout'}
    for after in ('bb', 'bs', 'sb', 'sbbs', 'bdb'):
        graph = [{'op': 'conv2d', 'attrs': {'out_channels': 8, 'kernel': 3}}]
        graph += [dict({'op': kinds[k]}, **({'attrs': {'p': 0.5}} if k == 'd' else {})) for k in after]
        graph += [{'op': 'relu'}, {'op': 'global_avgpool2d'}, {'op': 'flatten'},
                  {'op': 'linear', 'attrs': {'out_features': 10}}]
        put(after + '.json', json.dumps({'input': [3, 32, 32], 'graph': graph}).encode())
        run_ = trained('fold-' + after, '--model', path(after + '.json'), '--norm', 'bn')
        out = path(after + '.onnx')
        blanch('export', '--run', run_, '--onnx', out)
        compare(predicted('--run', run_), predicted('--model', out))
        with open(out, 'rb') as f:
            data = f.read()
        apart = [kind for kind in ('BatchNormalization', 'Mul') if field(4, kind) in data]      # their op_type
        tap.check(apart == (['BatchNormalization'] if 'd' in after else []), '%s: %s' % (after, apart))


def test_an_export_needs_no_device_and_leaves_what_was_there():
    run_ = trained('back-bn-0', '--model', 'smallcnn', '--norm', 'bn')
    out = put('there.onnx', b'kept')
    env = dict(os.environ, OCL_ICD_VENDORS=path('none'))
    command = (BLANCH, 'export', '--run', run_, '--onnx', out)
    tap.check(subprocess.run(command, env=env, stdout=subprocess.DEVNULL).returncode == 0)
    put('there.onnx', b'kept')
    refused('does not fit', 'export', '--weights', put('none.safetensors', struct.pack('<Q', 2) + b'{}'), '--model',
            'smallcnn', '--norm', 'bn', '--onnx', out)
    with open(out, 'rb') as f:
        tap.check(f.read() == b'kept')


# --- what exporters write ------------------------------------------------------------------------

def zeros(count):
    return [0.0] * count


def weights(rng, count):
    return [rng.uniform(-0.5, 0.5) for _ in range(count)]


def like_pytorch(batch=2, side=8, extra=(), drop=(), conv=None, **more):
    """A convolution without a bias as torch.export has it (zeros that are spread), batch norm, ReLU, a mean, a
    classifier; extra: nodes between; drop: names of initialisers to leave out; conv: attributes of the convolution."""
    rng = random.Random(7)
    sizes = {'features.0.weight': [8, 3, 3, 3], 'features.1.weight': [8], 'features.1.bias': [8],
             'features.1.running_mean': [8], 'features.1.running_var': [8], 'head.weight': [10, 8], 'head.bias': [10]}
    values = {}
    for name, shape in sizes.items():
        count = 1
        for size in shape:
            count *= size
        values[name] = [1.0 + 0.1 * i for i in range(count)] if name.endswith('var') else weights(rng, count)
    x = extra[-1][1] if extra else 'relu'
    nodes = [node('Shape', ['features.0.weight'], ['s'], start=0, end=1),
             node('Constant', [], ['zero'], value=tensor('', [], [0.0])),
             node('CastLike', ['zero', 'x'], ['zero2']), node('Expand', ['zero2', 's'], ['zeros']),
             node('Conv', ['x', 'features.0.weight', 'zeros'], ['c'], 'node_conv2d',
                  **dict({'pads': [1, 1, 1, 1], 'strides': [1, 1], 'kernel_shape': [3, 3]}, **(conv or {}))),
             node('BatchNormalization', ['c', 'features.1.weight', 'features.1.bias', 'features.1.running_mean',
                                         'features.1.running_var'], ['b'], 'bn', epsilon=1e-5, momentum=0.9),
             node('Relu', ['b'], ['relu'], 'relu'), *[e[0] for e in extra],
             node('Constant', [], ['axes'], value_ints=[-1, -2]),
             node('ReduceMean', [x, 'axes'], ['mean'], 'mean', keepdims=1),
             node('Constant', [], ['sizes'], value=tensor('', [2], [batch if batch != 'n' else -1, 8])),
             node('Reshape', ['mean', 'sizes'], ['flat'], 'view', allowzero=1),
             node('Gemm', ['flat', 'head.weight', 'head.bias'], ['logits'], 'head', transB=1)]
    initialisers = [tensor(n, sizes[n], v) for n, v in values.items() if n not in drop]
    made = model(nodes, initialisers, [value('x', [batch, 3, side, side])], [value('logits', [batch, 10])], **more)
    return made, values


def safetensors(file):
    with open(file, 'rb') as f:
        data = f.read()
    size, = struct.unpack_from('<Q', data)
    head = json.loads(data[8:8 + size])
    head.pop('__metadata__', None)
    out = {}
    for name, entry in head.items():
        begin, end = entry['data_offsets']
        raw = data[8 + size + begin:8 + size + end]
        out[name] = struct.unpack('<%d%s' % ((len(raw) // 4, 'f') if entry['dtype'] == 'F32' else
                                             (len(raw) // 8, 'q')), raw)
    return out


def test_names_and_values_of_parameters_are_kept():
    made, values = like_pytorch()
    put('net.onnx', made)
    trained('net', '--model', path('net.onnx'), '--lr', '0', '--momentum', '0', '--weight-decay', '0')
    saved = safetensors(path('net/last.safetensors'))
    tap.check(set(saved) == set(values) | {'features.1.num_batches_tracked'}, sorted(saved))
    for name in values:
        if 'running' not in name:
            tap.check(all(abs(a - b) < 1e-6 for a, b in zip(saved[name], values[name])), name)
    listed = json.loads(blanch('models', path('net.onnx'), '--json'))
    tap.check([n['op'] for n in listed['graph']] == ['input', 'conv2d', 'batchnorm2d', 'relu', 'global_avgpool2d',
                                                     'flatten', 'linear'])


def test_a_run_of_an_onnx_file_needs_the_file_no_more():
    put('gone.onnx', like_pytorch()[0])
    run_ = trained('gone', '--model', path('gone.onnx'))
    os.remove(path('gone.onnx'))
    blanch('train', '--resume', '--out', run_, '--steps', '5')
    blanch('eval', '--run', run_, '--device', 'cpu')


def test_it_turns_to_deconvolution():
    put('turn.onnx', like_pytorch()[0])
    run_ = trained('turn', '--model', path('turn.onnx'), '--norm', 'nd')
    tap.check('features.0.running_deconv' in safetensors(run_ + '/last.safetensors'))


def test_the_batch_may_be_open():
    put('open.onnx', like_pytorch('n')[0])
    blanch('models', path('open.onnx'))


def masked(sizes):
    """A product with a random mask of these sizes, kept with a probability of 0.75."""
    return [(node('Constant', [], ['sh'], value_ints=sizes), ''),
            (node('Constant', [], ['keep'], value=tensor('', [], [0.75])), ''),
            (node('ConstantOfShape', ['sh'], ['e']), ''), (node('RandomUniformLike', ['e'], ['r']), ''),
            (node('Less', ['r', 'keep'], ['l']), ''), (node('Cast', ['l'], ['f'], to=1), ''),
            (node('Div', ['f', 'keep'], ['m']), ''), (node('Mul', ['relu', 'm'], ['masked'], 'mask'), 'masked')]


def test_dropout_as_a_random_mask():
    for sizes, op in ([[2, 1, 1, 1], 'stochastic_depth'], [[2, 8, 8, 8], 'dropout']):
        put('mask.onnx', like_pytorch(extra=masked(sizes))[0])
        graph = json.loads(blanch('models', path('mask.onnx'), '--json'))['graph']
        found = [n for n in graph if n['op'] == op]
        tap.check(len(found) == 1 and found[0]['attrs']['p'] == 0.25, graph)
    for sizes in ([2, 8, 1, 1], [1, 1, 1, 1], [1, 8, 8, 8], [2, 1, 8, 8], [8, 8, 8], [2]):  # of channels, of a batch
        refused(['mask: its random mask'], 'models', put('mask.onnx', like_pytorch(extra=masked(sizes))[0]))


def test_what_is_no_parameter_does_not_become_one():
    constants = [(node('Constant', [], [n], value=tensor('', [8], [v] * 8)), '')
                 for n, v in (('ones', 1.0), ('zeros2', 0.0))]
    more = constants + [(node('BatchNormalization', ['relu', 'ones', 'zeros2', 'zeros2', 'ones'], ['y'], 'fixed'), 'y')]
    refused('fixed: its weight is a constant', 'models', put('fixed.onnx', like_pytorch(extra=more)[0]))
    more = constants + [(node('LayerNormalization', ['turned', 'ones', 'zeros2'], ['y'], 'fixed', axis=-1), ''),
                        (node('Transpose', ['y'], ['z'], perm=[0, 3, 1, 2]), 'z')]
    more.insert(0, (node('Transpose', ['relu'], ['turned'], perm=[0, 2, 3, 1]), ''))
    refused('fixed: its weight is a constant', 'models', put('fixed.onnx', like_pytorch(extra=more)[0]))


def test_frozen_batch_norms_are_named():
    names = ['more.weight', 'more.bias', 'more.running_mean', 'more.running_var']
    values = b''.join(field(7, field(5, tensor(n, [8], [1.0] * 8))) for n in names)
    for mode in 0, 1:
        extra = [(node('BatchNormalization', ['relu'] + names, ['y'], 'more', training_mode=mode), 'y')]
        done = run('models', put('frozen.onnx', like_pytorch(extra=extra)[0] + values))
        said = [line for line in done.stderr.splitlines() if 'evaluation mode' in line]
        tap.check(done.returncode == 0 and len(said) == mode, done.stderr)
        tap.check(not said or said[0].endswith(': bn'), said)


def test_parts_of_channels_and_padding_that_keeps_the_size():
    sizes = [(node('Constant', [], ['sizes2'], value_ints=[3, 5]), ''),
             (node('SplitToSequence', ['relu', 'sizes2'], ['all'], 'split', axis=1, keepdims=1), ''),
             (node('Constant', [], ['0'], value_int=0), ''), (node('Constant', [], ['1'], value_int=-1), ''),
             (node('SequenceAt', ['all', '1'], ['b1']), ''), (node('SequenceAt', ['all', '0'], ['b0']), ''),
             (node('Concat', ['b1', 'b0'], ['y'], axis=1), 'y')]
    graph = json.loads(blanch('models', put('parts.onnx', like_pytorch(extra=sizes)[0]), '--json'))['graph']
    parts = [(n['attrs'].get('begin', 0), n['attrs']['end']) for n in graph if n['op'] == 'slice_channels']
    tap.check(parts == [(3, 8), (0, 3)], graph)
    for wrong in ([3, 4], [3, 6], [-1, 9], [0, 8]):
        sizes[0] = (node('Constant', [], ['sizes2'], value_ints=wrong), '')
        refused('split: its parts are not all', 'models', put('parts.onnx', like_pytorch(extra=sizes)[0]))
    for kind in 'SAME_UPPER', 'SAME_LOWER':
        same = {'auto_pad': kind, 'pads': [0, 0, 0, 0]}
        graph = json.loads(blanch('models', put('same.onnx', like_pytorch(conv=same)[0]), '--json'))['graph']
        tap.check(graph[1]['attrs']['padding'] == [1, 1], graph[1])
        refused('keeps the size', 'models', put('same.onnx', like_pytorch(conv=dict(same, strides=[2, 1]))[0]))


def test_activations_in_parts():
    erf = [(node('Constant', [], ['r2'], value=tensor('', [], [2 ** 0.5])), ''),
           (node('Div', ['relu', 'r2'], ['d']), ''), (node('Erf', ['d'], ['e']), ''),
           (node('Constant', [], ['one'], value=tensor('', [], [1.0])), ''), (node('Add', ['e', 'one'], ['a']), ''),
           (node('Mul', ['relu', 'a'], ['p']), ''), (node('Constant', [], ['half'], value=tensor('', [], [0.5])), ''),
           (node('Mul', ['p', 'half'], ['y']), 'y')]
    silu = [(node('Sigmoid', ['relu'], ['g']), ''), (node('Mul', ['relu', 'g'], ['y']), 'y')]
    swish = [(node('HardSigmoid', ['relu'], ['g'], alpha=1 / 6), ''), (node('Mul', ['g', 'relu'], ['y']), 'y')]
    ones = [(node('Constant', [], ['one'], value=tensor('', [], [1.0])), ''), (node('Mul', ['relu', 'one'], ['a']), ''),
            (node('Elu', ['a'], ['e'], alpha=1.0), ''), (node('Mul', ['one', 'e'], ['y']), 'y')]
    clamp = [(node('Constant', [], ['0'], value_float=0.0), ''), (node('Max', ['relu', '0'], ['a']), ''),
             (node('Constant', [], ['6'], value_float=6.0), ''), (node('Min', ['a', '6'], ['y']), 'y')]
    for extra, op in ((erf, 'gelu'), (silu, 'silu'), (swish, 'hardswish'), (ones, 'elu'), (clamp, 'relu6')):
        put('parts.onnx', like_pytorch(extra=extra)[0])
        ops = [n['op'] for n in json.loads(blanch('models', path('parts.onnx'), '--json'))['graph']]
        tap.check(ops[3:5] == ['relu', op] and len(ops) == 8, ops)


def group_norm(groups, by_torch_export):
    """Of ReLU's output, as both exporters leave it for opsets before 21."""
    both = lambda n, name, *more: [(node('Unsqueeze', [n, 'axes2'], [name + '3'], name + ' spread'), '')] + (
        [(node('CastLike', [name + '3', more[0]], [name + '4']), '')] if by_torch_export else [])
    if by_torch_export:
        nodes = [(node('Constant', [], ['rank'], value=tensor('', [], [4])), ''),
                 (node('Constant', [], ['all'], value_ints=[-1]), ''),
                 (node('Constant', [], ['0'], value_ints=[0]), ''),
                 (node('Constant', [], ['groups0'], value_ints=[groups]), ''),
                 (node('Reshape', ['groups0', 'all'], ['groups1']), ''),
                 (node('Concat', ['0', 'groups1', 'all'], ['to'], axis=0), '')]
        for name, number in ('ones', 1.0), ('none', 0.0):
            nodes += [(node('Constant', [], [name + '0'], value_float=number), ''),
                      (node('CastLike', [name + '0', 'relu'], [name + '1']), ''),
                      (node('Expand', [name + '1', 'groups1'], [name]), '')]
    else:
        nodes = [(node('Constant', [], ['to'], value_ints=[0, groups, -1]), '')]
        nodes += [(node('Constant', [], [name], value=tensor('', [groups], [number] * groups)), '')
                  for name, number in (('ones', 1.0), ('none', 0.0))]
    nodes += [(node('Reshape', ['relu', 'to'], ['parts'], 'apart'), ''),
              (node('InstanceNormalization', ['parts', 'ones', 'none'], ['normal'], 'normal', epsilon=1e-3), ''),
              (node('Shape', ['relu'], ['shape']), ''), (node('Reshape', ['normal', 'shape'], ['back'], 'back'), '')]
    if by_torch_export:
        nodes += [(node('Constant', [], ['one'], value_int=1), ''), (node('Sub', ['rank', 'one'], ['three']), ''),
                  (node('Range', ['one', 'three', 'one'], ['axes2'], 'range'), '')]
    else:
        nodes += [(node('Constant', [], ['axes2'], value_ints=[1, 2]), '')]
    last = '4' if by_torch_export else '3'
    return (nodes + both('gn.weight', 'w', 'back') + [(node('Mul', ['back', 'w' + last], ['product'], 'product'), '')] +
            both('gn.bias', 'b', 'product') + [(node('Add', ['product', 'b' + last], ['y'], 'sum'), 'y')])


def test_group_norms_as_exporters_leave_them():
    values = b''.join(field(7, field(5, tensor(n, [8], [v] * 8))) for n, v in (('gn.weight', 1.5), ('gn.bias', 0.25)))
    for groups in 1, 2, 8:
        for by_torch_export in False, True:
            put('gn.onnx', like_pytorch(extra=group_norm(groups, by_torch_export))[0] + values)
            graph = json.loads(blanch('models', path('gn.onnx'), '--json'))['graph']
            found = [n for n in graph if n['op'] == 'group_norm']
            tap.check(len(graph) == 8 and len(found) == 1, graph)
            attrs = found[0]['attrs']
            tap.check(found[0]['name'] == 'gn' and attrs['groups'] == groups and attrs['eps'] == 1e-3, found)
    saved = safetensors(os.path.join(trained('gn', '--model', path('gn.onnx'), '--lr', '0', '--momentum', '0',
                                             '--weight-decay', '0'), 'last.safetensors'))
    tap.check(saved['gn.weight'] == (1.5,) * 8 and saved['gn.bias'] == (0.25,) * 8, saved)
    extra = group_norm(2, False)
    extra[0] = (node('Constant', [], ['to'], value_ints=[0, 4, -1]), '')     # of four groups, and weights of two
    refused('InstanceNormalization (normal', 'models', put('gn.onnx', like_pytorch(extra=extra)[0] + values))


# --- what is refused -----------------------------------------------------------------------------

def test_all_nodes_that_cannot_be_read_are_named():
    extra = [(node('LSTM', ['relu'], ['u'], 'first'), ''), (node('Hardmax', ['u'], ['v'], 'second'), ''),
             (node('Gelu', ['v'], ['w'], 'third', 'com.microsoft'), ''), (node('Relu', ['w'], ['y'], 'fourth'), 'y')]
    put('many.onnx', like_pytorch(extra=extra)[0])
    line = refused(['LSTM (first)', 'Hardmax (second)', 'com.microsoft.Gelu (third)'], 'models', path('many.onnx'))
    tap.check('fourth' not in line, line)
    extra = [(node('GlobalAveragePool', ['relu'], ['u']), ''), (node('Add', ['relu', 'u'], ['v'], 'wide'), ''),
             (node('Relu', ['v'], ['w'], 'after'), ''), (node('Hardmax', ['w'], ['y'], 'last'), 'y')]
    line = refused(['Add (wide: ', 'cannot add', 'Hardmax (last)'], 'models',
                   put('wide.onnx', like_pytorch(extra=extra)[0]))
    tap.check('after' not in line and 'view' not in line, line)


def test_folded_batch_norms_are_refused_where_they_are_wanted():
    run_ = trained('back-bn-0', '--model', 'smallcnn', '--norm', 'bn')
    blanch('export', '--run', run_, '--onnx', path('folded.onnx'))
    out = ('--data', DATA, '--steps', '1', '--batch', '4', '--device', 'cpu', '--out', path('folded2'))
    for norm in ((), ('--norm', 'bn')):
        refused(['folded', 'optimize=False', 'TrainingMode.PRESERVE'], 'train', '--model', path('folded.onnx'), *norm,
                *out)
    blanch('train', '--model', path('folded.onnx'), '--norm', 'none', *out)


def test_values_in_a_file_beside_it_alone():
    name, sizes = 'head.bias', [10]
    raw = struct.pack('<10f', *range(10))
    good = {'location': 'beside.data', 'offset': '4', 'length': '40'}

    def file(external):
        return put('external.onnx', like_pytorch(drop=[name])[0] +
                   field(7, field(5, tensor(name, sizes, [], external))))      # a further part of the graph

    put('beside.data', b'\0\0\0\0' + raw)
    run_ = trained('external', '--model', file(good), '--lr', '0', '--momentum', '0', '--weight-decay', '0')
    tap.check(safetensors(run_ + '/last.safetensors')[name] == tuple(map(float, range(10))))
    os.mkdir(path('folder'))
    put('folder/beside.data', b'\0' * 44)
    put('short.data', b'\0' * 43)
    os.symlink(path('beside.data'), path('link.data'))
    for change, words in (({'location': path('beside.data')}, 'not the name of a file beside it'),
                          ({'location': 'folder/beside.data'}, 'not the name of a file beside it'),
                          ({'location': '..'}, 'not the name of a file beside it'),
                          ({'location': '../beside.data'}, 'not the name of a file beside it'),
                          ({'location': ''}, 'not the name of a file beside it'), ({'location': 'link.data'}, 'a link'),
                          ({'location': 'none.data'}, 'No such file'), ({'location': 'short.data'}, 'head.bias'),
                          ({'location': 'folder'}, 'folder'), ({'offset': '8'}, 'head.bias'),
                          ({'offset': '-4'}, 'head.bias'), ({'offset': '18446744073709551612'}, 'head.bias'),
                          ({'length': '36'}, 'head.bias'), ({'length': 'x'}, 'head.bias')):
        refused(words, 'models', file(dict(good, **change)))


def test_malformed_files():
    made, _ = like_pytorch()
    deep = b''
    for _ in range(4000):
        deep = field(1, field(5, field(6, deep)))       # a graph within an attribute of a node
    cases = {'empty': (b'', 'not an ONNX file'), 'text': (b'{"graph": []}', 'not an ONNX file'),
             'cut': (made[:len(made) // 2], 'not an ONNX file'), 'deep': (made + field(7, deep), 'not an ONNX file'),
             'old': (like_pytorch(opset=12)[0], 'opset_version=17'), 'new': (like_pytorch(opset=99)[0], 'opset 99'),
             'fields': (made + field(7, b'\x0a\0' * (1 << 21)), 'fields'),
             'twice': (like_pytorch(extra=[(node('Relu', ['b'], ['relu']), 'relu')])[0], 'given twice'),
             'order': (like_pytorch(extra=[(node('Add', ['relu', 'late'], ['y'], 'early'), ''),
                                           (node('Relu', ['relu'], ['late']), 'y')])[0], 'early'),
             'nobody': (like_pytorch(extra=[(node('Add', ['relu', 'who'], ['y'], 'lost'), 'y')])[0], "'who'"),
             'lacking': (like_pytorch(drop=['head.bias'])[0], "'head.bias'"),
             'sizes': (like_pytorch(batch=2, side='s')[0], 'sizes of its images are open'),
             'huge': (like_pytorch(side=1 << 40)[0], 'sizes'),
             'outputs': (made + field(7, field(12, value('relu', [2, 8, 8, 8]))), '2 outputs'),
             'inputs': (made + field(7, field(11, value('more', [2, 8]))), "'more'"),
             'type': (made + field(7, field(5, field(2, 8) + field(8, 'odd'))), "'odd'"),
             'negative': (made + field(7, field(5, field(1, -5) + field(2, 1) + field(8, 'odd'))), "'odd'"),
             'product': (made + field(7, field(5, many(1, [1 << 40] * 3) + field(2, 1) + field(8, 'odd'))), "'odd'")}
    for name, (data, words) in cases.items():
        put(name + '.onnx', data)
        refused([name + '.onnx', words], 'models', path(name + '.onnx'))
    refused('No such file', 'models', path('absent.onnx'))
    refused(['bad.onnx', 'view'], 'models', put('bad.onnx', like_pytorch()[0].replace(
        struct.pack('<2q', 2, 8), struct.pack('<2q', 2, 9))))


def test_values_and_attributes_agree():
    weight = 'features.0.weight'
    whole = like_pytorch(drop=[weight])[0] + field(7, field(5, tensor(weight, [8, 3, 3, 3], list(range(216)))))
    cases = [(like_pytorch(conv={'group': groups})[0], ['node_conv2d', '%d groups' % groups])
             for groups in (0, -1, 1 << 33, (1 << 63) - 1, -1 << 63)]
    cases += [(like_pytorch(conv={'group': 2})[0], ['node_conv2d', 'in each of 2 groups']),
              (like_pytorch(conv={'kernel_shape': [7, 3]})[0], ['node_conv2d', 'kernel_shape']),
              (like_pytorch(conv={'kernel_shape': [3]})[0], ['node_conv2d', 'kernel_shape']),
              (whole, ['node_conv2d', 'floating-point']), (like_pytorch(batch=0)[0], 'batches of 0')]
    for data, words in cases:
        refused(words, 'models', put('agree.onnx', data))


def test_as_many_layers_as_a_description():
    def chain(count):
        names = ['relu'] + ['r%d' % i for i in range(count)]
        return put('chain.onnx', like_pytorch(extra=[(node('Relu', [a], [b]), b) for a, b in zip(names, names[1:])])[0])

    listed = json.loads(blanch('models', chain(4993), '--json'))
    tap.check(len(listed['graph']) == 5000, len(listed['graph']))
    put('chain.json', json.dumps(listed).encode())
    blanch('models', path('chain.json'))
    refused('5000', 'models', chain(4994))


def test_what_is_exported_is_not_written_over():
    data = like_pytorch()[0]
    put('own.onnx', data)
    os.symlink(path('own.onnx'), path('own-link.onnx'))
    for to in ('own.onnx', 'own-link.onnx'):
        refused('written over', 'export', '--model', path('own.onnx'), '--onnx', path(to))
    blanch('export', '--model', path('own.onnx'), '--safetensors', path('own.safetensors'))
    weights_ = ('--model', path('own.onnx'), '--weights', path('own.safetensors'), '--norm', 'none')
    refused('written over', 'export', *weights_, '--safetensors', path('own.safetensors'))
    refused('written over', 'export', *weights_, '--onnx', path('own.onnx'))
    with open(path('own.onnx'), 'rb') as f:
        tap.check(f.read() == data)


def test_export_says_what_it_needs():
    refused('--onnx FILE or --safetensors FILE', 'export', '--run', path('x'))
    refused('--weights FILE is missing', 'export', '--model', 'smallcnn', '--norm', 'bn', '--onnx', path('x.onnx'))
    refused('fp32, fp16 or int8', 'export', '--model', 'smallcnn', '--weights', path('x'), '--norm', 'bn', '--onnx',
            path('x.onnx'), '--precision', 'bf16')
    put('own.onnx', like_pytorch()[0])
    refused('has no values for', 'export', '--model', path('own.onnx'), '--norm', 'nd', '--onnx', path('x.onnx'))


# --- the document --------------------------------------------------------------------------------

def source(pattern):
    import glob
    text = ''
    for name in sorted(glob.glob(os.path.join(ROOT, 'host', pattern))):
        with open(name, encoding='utf-8') as f:
            text += f.read()
    return text


def test_the_document_lists_what_is_read_and_written():
    forms = source('ops/*.c') + source('ops/nd/onnx.c') + source('graph/onnx_*.c')
    both = set(re.findall(r'\.type = "(\w+)"', forms))
    read = set(re.findall(r'\{"([A-Z][a-z]\w+)", [a-z_]+\}', forms)) | both
    written = both | set(re.findall(r'\(w, (?:node, )?"([A-Z][a-z]\w+)"', forms))
    with open(os.path.join(ROOT, 'docs', 'onnx.md'), encoding='utf-8') as f:
        rows = re.findall(r'^\| `([A-Z]\w+)` \| (.*?) \| (.*?) \|$', f.read(), re.M)
    told_read, told_written = {r[0] for r in rows if r[1] != '-'}, {r[0] for r in rows if r[2] != '-'}
    tap.check(len(read) > 40 and len(written) > 20, '%s %s' % (read, written))
    tap.check(told_read == read, 'read: %s' % sorted(told_read ^ read))
    tap.check(told_written == written, 'written: %s' % sorted(told_written ^ written))


# --- with PyTorch --------------------------------------------------------------------------------

def test_with_pytorch_and_onnx_runtime():
    need = 'import torch, onnx, onnxscript, onnxruntime, safetensors'
    if subprocess.run([PYTHON, '-c', need], stderr=subprocess.DEVNULL).returncode:
        raise tap.Skip('%s has not all of torch, onnx, onnxscript, onnxruntime, safetensors (--python)' % PYTHON)
    put('written.json', json.dumps(every_operation(written=True)).encode())
    done = subprocess.run([PYTHON, os.path.join(HERE, 'onnx_peers.py'), BLANCH, WORK.name, 'small',
                           path('written.json')], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, universal_newlines=True)
    for line in done.stdout.splitlines():
        tap.say('# ' + line)
    tap.check(done.returncode == 0, done.stdout + done.stderr[-1500:])


if __name__ == '__main__':
    tap.need_device(BLANCH)
    if 'protobuf-c' in run('export', '--run', 'x', '--onnx', 'x').stderr:
        tap.skip_all('this build has no protobuf-c')
    sys.exit(tap.run(tap.functions(globals(), ARGUMENTS[1:])))
