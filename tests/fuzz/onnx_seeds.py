"""Seeds of the fuzz target `onnx`: small files with every operator that is read."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from onnx_messages import model, node, tensor, value                                    # noqa: E402


def ones(*sizes):
    count = 1
    for size in sizes:
        count *= size
    return list(sizes), [1.0] * count


def file(nodes, initialisers, batch=2, size=(2, 4, 4), out='y', **more):
    return model(nodes, [tensor(name, *of) for name, of in initialisers.items()],
                 [value('x', [batch, *size])], [value(out, [batch, 2])], **more)


def whole(name, *values):
    return node('Constant', [], [name], value_ints=list(values))


def number(name, x):
    return node('Constant', [], [name], value=tensor('', [], [x]))


HEAD = [node('GlobalAveragePool', ['h'], ['g']), node('Flatten', ['g'], ['f'], axis=1),
        node('Gemm', ['f', 'fc.weight', 'fc.bias'], ['y'], transB=1)]
FC = {'fc.weight': ones(2, 2), 'fc.bias': ones(2)}
BN = {'b.' + name: ones(2) for name in ('weight', 'bias', 'running_mean', 'running_var')}


def unary(*steps):
    """Nodes from x to h."""
    nodes, at = [], 'x'
    for i, (kind, attributes) in enumerate(steps):
        to = 'h' if i + 1 == len(steps) else 'u%d' % i
        nodes.append(node(kind, [at], [to], 'n%d' % i, **attributes))
        at = to
    return nodes


SEEDS = {
    'convolution': file([node('Shape', ['c.weight'], ['s'], start=0, end=1), number('z', 0.0),
                         node('CastLike', ['z', 'x'], ['zz']), node('Expand', ['zz', 's'], ['zs']),
                         node('Conv', ['x', 'c.weight', 'zs'], ['c'], 'c', pads=[1, 1, 1, 1], group=2),
                         node('BatchNormalization', ['c', *BN], ['b'], 'b', epsilon=1e-5, momentum=0.9),
                         node('Relu', ['b'], ['h'])] + HEAD, {'c.weight': ones(2, 1, 3, 3), **BN, **FC}),
    'activations': file(unary(('Relu', {}), ('Sigmoid', {}), ('Tanh', {}), ('HardSwish', {}), ('Identity', {}),
                              ('Elu', {'alpha': 0.5}), ('LeakyRelu', {'alpha': 0.1}), ('HardSigmoid', {'alpha': 1 / 6}),
                              ('Gelu', {'approximate': 'tanh'})) + HEAD, FC),
    'groups': file([whole('to', 0, 1, -1), node('Reshape', ['x', 'to'], ['p']),
                    node('InstanceNormalization', ['p', 'one', 'none'], ['n'], epsilon=1e-5),
                    node('Shape', ['x'], ['s']),
                    node('Reshape', ['n', 's'], ['b']), whole('from', 1), whole('before', 3),
                    node('Range', ['from', 'before', 'from'], ['axes']), node('Unsqueeze', ['g.weight', 'axes'], ['w']),
                    node('CastLike', ['w', 'b'], ['w1']), node('Mul', ['b', 'w1'], ['m']),
                    node('Unsqueeze', ['g.bias', 'axes'], ['v']), node('Add', ['m', 'v'], ['h'])] + HEAD,
                   {'one': ones(1), 'none': ([1], [0.0]), 'g.weight': ones(2), 'g.bias': ones(2), **FC}),
    'pools': file(unary(('MaxPool', {'kernel_shape': [2, 2], 'strides': [1, 1], 'ceil_mode': 1}),
                        ('AveragePool', {'kernel_shape': [3, 3], 'strides': [2, 2], 'pads': [1, 1, 1, 1]})) + HEAD, FC),
    'parts': file([number('r', 2 ** 0.5), node('Div', ['x', 'r'], ['d']), node('Erf', ['d'], ['e']), number('one', 1.0),
                   node('Add', ['e', 'one'], ['a']), node('Mul', ['x', 'a'], ['p']), number('half', 0.5),
                   node('Mul', ['p', 'half'], ['g1']), node('Sigmoid', ['g1'], ['s']), node('Mul', ['g1', 's'], ['m']),
                   number('low', 0.0), number('high', 6.0), node('Clip', ['m', 'low', 'high'], ['h'])] + HEAD, FC),
    'masks': file([whole('s', 2, 1, 1, 1), node('ConstantOfShape', ['s'], ['e']),
                   node('RandomUniformLike', ['e'], ['r']), number('k', 0.5), node('Less', ['r', 'k'], ['l']),
                   node('Cast', ['l'], ['c'], to=1), node('Div', ['c', 'k'], ['m']), node('Mul', ['x', 'm'], ['d']),
                   node('Dropout', ['d', 'k'], ['h', ''])] + HEAD, FC),
    'shuffle': file([whole('two', 2), whole('one', 1), whole('four', 4, 4),
                     node('Concat', ['two', 'two', 'one', 'four'], ['s'], axis=0),
                     node('Reshape', ['x', 's'], ['g1']), node('Transpose', ['g1'], ['t'], perm=[0, 2, 1, 3, 4]),
                     node('Shape', ['x'], ['sx']), node('Reshape', ['t', 'sx'], ['c']),
                     node('Split', ['c'], ['l', 'r'], axis=1), node('SplitToSequence', ['c', 'one1'], ['q'], axis=1),
                     node('SequenceAt', ['q', 'one1'], ['at']), whole('zero', 0),
                     node('Slice', ['c', 'zero', 'one', 'one'], ['sl']), node('Concat', ['l', 'at'], ['j'], axis=1),
                     node('Concat', ['r', 'sl'], ['k'], axis=1), node('Add', ['j', 'k'], ['h'])] + HEAD,
                    {'one1': ([], [1]), **FC}),
    'pixels': file([node('Transpose', ['x'], ['t'], perm=[0, 2, 3, 1]),
                    node('LayerNormalization', ['t', 'n.weight', 'n.bias'], ['n'], axis=-1, epsilon=1e-6),
                    node('Transpose', ['l.weight'], ['w'], perm=[1, 0]), node('MatMul', ['n', 'w'], ['p']),
                    node('Add', ['p', 'l.bias'], ['q']), node('Transpose', ['q'], ['u'], perm=[0, 3, 1, 2]),
                    node('Mul', ['u', 'scale'], ['h'])] + HEAD,
                   {'n.weight': ones(2), 'n.bias': ones(2), 'l.weight': ones(2, 2), 'l.bias': ones(2),
                    'scale': ones(2, 1, 1), **FC}),
    'arithmetic': file([node('Shape', ['x'], ['s']), whole('one', 1), node('Gather', ['s', 'one'], ['c']),
                        whole('zero', 0), node('Squeeze', ['c', 'zero'], ['c0']),
                        node('Unsqueeze', ['c0', 'zero'], ['c1']), node('Add', ['c1', 'one'], ['a']),
                        node('Sub', ['a', 'one'], ['b']), node('Mul', ['b', 'one'], ['m']),
                        node('Div', ['m', 'one'], ['d']), node('Slice', ['s', 'zero', 'one'], ['n']),
                        whole('axes', -1, -2), node('ReduceMean', ['x', 'axes'], ['g'], keepdims=0),
                        node('Concat', ['n', 'd'], ['to'], axis=0), node('Reshape', ['g', 'to'], ['f']),
                        node('Gemm', ['f', 'fc.weight', 'fc.bias'], ['y'], transB=1)], FC),
    'open': file(unary(('Relu', {})) + HEAD, FC, batch='n',
                 metadata={'blanch.mean': '[0.5]', 'blanch.folded': 'true'}),
    'outside': model(unary(('Relu', {})) + HEAD, [
        tensor('fc.weight', [2, 2], [], {'location': 'x.data', 'offset': '8', 'length': '16'}),
        tensor('fc.bias', *ones(2))], [value('x', [2, 2, 4, 4])], [value('y', [2, 2])]),
    'unread': file([node('LSTM', ['x'], ['u'], 'first'), node('Relu', ['u'], ['h'])] + HEAD, FC),
}
