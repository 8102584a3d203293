"""A network written as in torch.nn. Modules have PyTorch's names and arguments, and parameters get the names that
PyTorch's state dict would have. A module's forward is run once, on a stand-in for the images, to write down the graph:

    >>> from blanch import nn
    >>> class Block(nn.Module):
    ...     def __init__(self, width):
    ...         self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
    ...         self.bn = nn.BatchNorm2d(width)
    ...     def forward(self, x):
    ...         return nn.relu(self.bn(self.conv(x)) + x)
    >>> net = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), Block(16), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    ...                     nn.Linear(16, 10))
    >>> [node['name'] for node in net.describe((3, 32, 32))['graph'] if 'name' in node]
    ['0', '1.conv', '1.bn', '4']
"""
from __future__ import annotations

from typing import Any, Iterator, Optional, Sequence, Union

from .errors import UsageError

Pair = Union[int, Sequence[int]]


def _pair(value: Pair, what: str) -> list[int]:
    pair = [value, value] if isinstance(value, int) else list(value) if isinstance(value, (tuple, list)) else []
    if len(pair) != 2 or not all(isinstance(part, int) for part in pair):
        raise UsageError('%s is a whole number or a pair of them, not %r' % (what, value))
    return pair


class _Graph:
    """What is written down while a module's forward runs."""

    def __init__(self, module: Module, size: Sequence[int]) -> None:
        self.nodes: list[dict] = [{'id': 'x', 'op': 'input', 'inputs': [], 'out': list(size)}]
        self.names = {id(part): name for name, part in module.named_modules()}
        self.used: set[str] = set()

    def add(self, op: str, inputs: Sequence[Tensor], attrs: Optional[dict] = None, name: str = '',
            **more: Any) -> Tensor:
        for x in inputs:
            if not isinstance(x, Tensor) or x.graph is not self:
                raise UsageError('%s: %s is no value of this network' % (name or op, type(x).__name__))
        if name in self.used:
            raise UsageError('%s is run twice: parameters that two layers share cannot be described' % name)
        id = name or '%s_%d' % (op, len(self.nodes))
        node: dict[str, Any] = {'id': id, 'op': op, 'inputs': [x.id for x in inputs]}
        if name:
            node['name'] = name
            self.used.add(name)
        node.update({key: value for key, value in (('attrs', attrs), *more.items()) if value})
        self.nodes.append(node)
        return Tensor(self, node['id'])


class Tensor:
    """A value within a network: (N, C, H, W). `x + y` adds; `x * y` multiplies, where y may be (N, C, 1, 1);
    `x[:, 4:8]` takes channels."""

    def __init__(self, graph: _Graph, id: str) -> None:
        self.graph, self.id = graph, id

    def __add__(self, other: Tensor) -> Tensor:
        return self.graph.add('add', [self, other])

    def __mul__(self, other: Tensor) -> Tensor:
        return self.graph.add('mul', [self, other])

    def __getitem__(self, key: Any) -> Tensor:
        every, channels = key if isinstance(key, tuple) and len(key) == 2 else (None, None)
        if every != slice(None) or not isinstance(channels, slice) or channels.step not in (None, 1):
            raise UsageError('of a value within a network channels alone can be taken, as x[:, 4:8]')
        return self.graph.add('slice_channels', [self], {'begin': channels.start or 0, 'end': channels.stop})

    def __iter__(self):
        raise UsageError('a value within a network cannot be taken apart')

    def __bool__(self):
        raise UsageError('a value within a network has no truth: the graph is the same for all images')


def cat(tensors: Sequence[Tensor], dim: int = 1) -> Tensor:
    """Joins channels."""
    if dim != 1 or not tensors:
        raise UsageError('cat joins channels: dim is 1, of one value or more')
    return tensors[0].graph.add('cat', list(tensors))


def relu(x: Tensor) -> Tensor:
    return x.graph.add('relu', [x])


def flatten(x: Tensor, start_dim: int = 1) -> Tensor:
    """To (N, C H W)."""
    if start_dim != 1:
        raise UsageError('flatten leaves the images apart: start_dim is 1, not %r' % (start_dim,))
    return x.graph.add('flatten', [x])


class Module:
    """The base of a network and of its parts. A subclass assigns its parts in __init__ and has a forward(x)."""

    def forward(self, x: Tensor) -> Tensor:
        raise UsageError('%s has no forward(x)' % type(self).__name__)

    def __call__(self, *inputs: Tensor) -> Tensor:
        return self.forward(*inputs)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        for name, part in vars(self).items():
            if isinstance(part, Module):
                yield name, part

    def named_modules(self, prefix: str = '') -> Iterator[tuple[str, Module]]:
        yield prefix, self
        for name, part in self.named_children():
            yield from part.named_modules(prefix + '.' + name if prefix else name)

    def describe(self, input: Sequence[int]) -> dict:
        """The description (docs/network-format.md) for images of the size input, (C, H, W)."""
        size = list(input) if isinstance(input, (tuple, list)) else []
        if len(size) != 3 or not all(isinstance(n, int) and n > 0 for n in size):
            raise UsageError('input is (C, H, W), not %r' % (input,))
        graph = _Graph(self, size)
        out = self(Tensor(graph, 'x'))
        if not isinstance(out, Tensor) or len(graph.nodes) < 2:
            raise UsageError('%s gives no logits' % type(self).__name__)
        if graph.nodes[-1]['id'] != out.id:
            raise UsageError('%s gives %s, and what comes after it is not used' % (type(self).__name__, out.id))
        listed = [[name + '.' + part, shape] for name, layer in self.named_modules() if name in graph.used
                  for part, shape in layer.parameters()]
        return {'model': type(self).__name__, 'input': size, **({'parameters': listed} if listed else {}),
                'graph': graph.nodes}

    def parameters(self) -> list[tuple[str, list[int]]]:
        """Names and shapes of a layer's own, in the order of the state dict."""
        return []


class Sequential(Module):
    """One part after the other."""

    def __init__(self, *parts: Module) -> None:
        self.parts = parts

    def named_children(self) -> Iterator[tuple[str, Module]]:
        return ((str(i), part) for i, part in enumerate(self.parts))

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part(x)
        return x

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: int) -> Module:
        return self.parts[index]


class ModuleList(Sequential):
    """Parts that forward takes one by one."""

    def __init__(self, parts: Sequence[Module] = ()) -> None:
        super().__init__(*parts)

    def forward(self, x: Tensor) -> Tensor:
        raise UsageError('a ModuleList has no forward: call its parts')


# --- layers ------------------------------------------------------------------------------------------

class _Layer(Module):
    """One operation, with its attributes; named where it has parameters. An exception from the rule of normalisation:
    keep = True leaves a layer or batch norm as it is under norm='nd'; nd = {'block': 16} and the like are settings of
    the layer's deconvolution (docs/network-format.md)."""

    keep = False
    nd: dict = {}

    def __init__(self, op: str, named: bool = False, **attrs: Any) -> None:
        self.op, self.named, self.attrs = op, named, attrs

    def forward(self, x: Tensor) -> Tensor:
        name = x.graph.names.get(id(self)) if self.named else ''
        if name is None:
            raise UsageError('a %s is no part of the network: assign it to self in __init__' % type(self).__name__)
        return x.graph.add(self.op, [x], self.attrs, name or (self.op if self.named else ''), keep=self.keep,
                           nd=self.nd)


class Conv2d(_Layer):
    """(N, in_channels, H, W) to (N, out_channels, H', W')."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Pair, stride: Pair = 1, padding: Pair = 0,
                 dilation: Pair = 1, groups: int = 1, bias: bool = True) -> None:
        super().__init__('conv2d', True, in_channels=in_channels, out_channels=out_channels,
                         kernel=_pair(kernel_size, 'kernel_size'), stride=_pair(stride, 'stride'),
                         padding=_pair(padding, 'padding'), dilation=_pair(dilation, 'dilation'), groups=groups,
                         bias=bool(bias))

    def parameters(self) -> list[tuple[str, list[int]]]:
        outputs, inputs = self.attrs['out_channels'], self.attrs['in_channels'] // self.attrs['groups']
        return [('weight', [outputs, inputs, *self.attrs['kernel']])] + [('bias', [outputs])] * self.attrs['bias']


class BatchNorm2d(_Layer):
    """Over a batch, channel by channel."""

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__('batchnorm2d', True, channels=num_features, eps=eps, momentum=momentum)

    def parameters(self) -> list[tuple[str, list[int]]]:
        return [('weight', [self.attrs['channels']]), ('bias', [self.attrs['channels']])]


class LayerNorm2d(_Layer):
    """Over the channels of each pixel: PyTorch's LayerNorm on channels last."""

    def __init__(self, num_channels: int, eps: float = 1e-5) -> None:
        super().__init__('layernorm', True, channels=num_channels, eps=eps)

    def parameters(self) -> list[tuple[str, list[int]]]:
        return [('weight', [self.attrs['channels']]), ('bias', [self.attrs['channels']])]


class GroupNorm(_Layer):
    """Over the pixels of an image and the channels of each group."""

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5) -> None:
        super().__init__('group_norm', True, groups=num_groups, channels=num_channels, eps=eps)

    def parameters(self) -> list[tuple[str, list[int]]]:
        return [('weight', [self.attrs['channels']]), ('bias', [self.attrs['channels']])]


class ConvTranspose2d(_Layer):
    """(N, in_channels, H, W) to (N, out_channels, H', W'), larger by the stride."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Pair, stride: Pair = 1, padding: Pair = 0,
                 output_padding: Pair = 0, groups: int = 1, bias: bool = True, dilation: Pair = 1) -> None:
        super().__init__('conv_transpose2d', True, in_channels=in_channels, out_channels=out_channels,
                         kernel=_pair(kernel_size, 'kernel_size'), stride=_pair(stride, 'stride'),
                         padding=_pair(padding, 'padding'), output_padding=_pair(output_padding, 'output_padding'),
                         dilation=_pair(dilation, 'dilation'), groups=groups, bias=bool(bias))

    def parameters(self) -> list[tuple[str, list[int]]]:
        outputs = self.attrs['out_channels']
        weight = [self.attrs['in_channels'], outputs // self.attrs['groups'], *self.attrs['kernel']]
        return [('weight', weight)] + [('bias', [outputs])] * self.attrs['bias']


class Linear(_Layer):
    """(N, in_features, 1, 1) to (N, out_features, 1, 1)."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__('linear', True, in_features=in_features, out_features=out_features, bias=bool(bias))

    def parameters(self) -> list[tuple[str, list[int]]]:
        outputs = self.attrs['out_features']
        return [('weight', [outputs, self.attrs['in_features']])] + [('bias', [outputs])] * self.attrs['bias']


def _windows(kernel_size: Pair, stride: Optional[Pair], padding: Pair, ceil_mode: bool) -> dict:
    return {'kernel': _pair(kernel_size, 'kernel_size'),
            'stride': _pair(kernel_size if stride is None else stride, 'stride'),
            'padding': _pair(padding, 'padding'), 'ceil_mode': bool(ceil_mode)}


class MaxPool2d(_Layer):
    def __init__(self, kernel_size: Pair, stride: Optional[Pair] = None, padding: Pair = 0, *,
                 ceil_mode: bool = False) -> None:
        super().__init__('maxpool2d', **_windows(kernel_size, stride, padding, ceil_mode))


class AvgPool2d(_Layer):
    def __init__(self, kernel_size: Pair, stride: Optional[Pair] = None, padding: Pair = 0, ceil_mode: bool = False,
                 count_include_pad: bool = True) -> None:
        super().__init__('avgpool2d', **_windows(kernel_size, stride, padding, ceil_mode),
                         count_include_pad=bool(count_include_pad))


class AdaptiveAvgPool2d(_Layer):
    """To (N, C, *output_size)."""

    def __init__(self, output_size: Pair = 1) -> None:
        out = _pair(output_size, 'output_size')
        if out == [1, 1]:
            super().__init__('global_avgpool2d')
        else:
            super().__init__('adaptive_avgpool2d', out=out)


class Upsample(_Layer):
    """To a size, or by a whole factor; bilinear as PyTorch has it with align_corners=False."""

    def __init__(self, size: Optional[Pair] = None, scale_factor: Optional[Pair] = None, mode: str = 'nearest') -> None:
        if mode not in ('nearest', 'bilinear') or (size is None) == (scale_factor is None):
            raise UsageError("Upsample: a size or a scale_factor, and mode is 'nearest' or 'bilinear'")
        to = {'scale': _pair(scale_factor, 'scale_factor')} if size is None else {'out': _pair(size, 'size')}
        super().__init__('upsample', **to, **({'bilinear': True} if mode == 'bilinear' else {}))


class PixelShuffle(_Layer):
    def __init__(self, upscale_factor: int) -> None:
        super().__init__('pixel_shuffle', factor=upscale_factor)


class ChannelShuffle(_Layer):
    def __init__(self, groups: int) -> None:
        super().__init__('channel_shuffle', groups=groups)


class Dropout(_Layer):
    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__('dropout', p=p)


class StochasticDepth(_Layer):
    """Of whole images, in a residual branch: torchvision's, by row."""

    def __init__(self, p: float, mode: str = 'row') -> None:
        if mode != 'row':
            raise UsageError("StochasticDepth: mode is 'row', not %r" % (mode,))
        super().__init__('stochastic_depth', p=p)


class LeakyReLU(_Layer):
    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__('leaky_relu', slope=negative_slope)


class ELU(_Layer):
    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__('elu', alpha=alpha)


class GELU(_Layer):
    def __init__(self, approximate: str = 'none') -> None:
        if approximate not in ('none', 'tanh'):
            raise UsageError("GELU: approximate is 'none' or 'tanh', not %r" % (approximate,))
        super().__init__('gelu', **({'tanh': True} if approximate == 'tanh' else {}))


class Identity(Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


def _plain(name: str, op: str) -> type:
    def __init__(self, inplace: bool = False) -> None:
        _Layer.__init__(self, op)
    return type(name, (_Layer,), {'__init__': __init__, '__module__': __name__})


ReLU = _plain('ReLU', 'relu')
ReLU6 = _plain('ReLU6', 'relu6')
Sigmoid = _plain('Sigmoid', 'sigmoid')
Tanh = _plain('Tanh', 'tanh')
SiLU = _plain('SiLU', 'silu')
Hardsigmoid = _plain('Hardsigmoid', 'hardsigmoid')
Hardswish = _plain('Hardswish', 'hardswish')
Flatten = _plain('Flatten', 'flatten')
