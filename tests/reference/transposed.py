"""Transposed convolutions by the convolution and the shuffle of pixels that they are (README.md, "Transposed
convolutions"): its attributes, its weights, and a check of both, and of its deconvolution with the gradient, against
PyTorch's ConvTranspose2d in double precision. oracle.py selftest runs it."""
import torch
import torch.nn.functional as F


def convolution(a):
    """The attributes of the convolution and of the pixel_shuffle. Its last four are top, left, bottom, right."""
    s, axes = a['stride'][0], []
    for k, p, d, further in zip(a['kernel'], a['padding'], a['dilation'], a['output_padding']):
        kernel = -(-k // s)
        reach, last = d * (kernel - 1), d * (k - 1) + further - p
        padding = max(0, reach - p // s, last // s)
        axes.append((kernel, padding, p - s * (reach - padding), s * (padding + 1) - 1 - last))
    kernel, padding, before, after = (list(v) for v in zip(*axes))
    conv = dict(in_channels=a['in_channels'], out_channels=a['out_channels'] * s * s, kernel=kernel, stride=[1, 1],
                padding=padding, dilation=a['dilation'], groups=a['groups'], bias=True)
    return conv, dict(factor=s, top=before[0], left=before[1], bottom=after[0], right=after[1])


def weights(a, w):
    """Those of the convolution, from [C, O/groups, k, k]; taps that w has none of are 0."""
    s, g, kernel = a['stride'][0], a['groups'], convolution(a)[0]['kernel']
    w = F.pad(w, (0, kernel[1] * s - w.shape[3], 0, kernel[0] * s - w.shape[2]))
    w = w.reshape(g, w.shape[0] // g, w.shape[1], kernel[0], s, kernel[1], s).flip(3, 5)
    return w.permute(0, 2, 4, 6, 1, 3, 5).reshape(-1, w.shape[1], *kernel)


def transposed(a, w):
    """[C, O/groups, K s, K s], which `weights` makes these of."""
    s, g, (outputs, c, kh, kw) = a['stride'][0], a['groups'], w.shape
    w = w.reshape(g, -1, s, s, c, kh, kw).flip(5, 6)
    return w.permute(0, 4, 1, 5, 2, 6, 3).reshape(g * c, outputs // (g * s * s), kh * s, kw * s)


def cases():
    """Attributes, and sizes of the input: odd ones, batch 1, kernels that the stride does not divide."""
    for kernel, stride, padding, further, dilation, groups, shape in (
            ((4, 4), 2, (1, 1), (0, 0), (1, 1), 1, (3, 6, 5, 7)), ((3, 3), 2, (1, 1), (1, 1), (1, 1), 1, (2, 6, 4, 5)),
            ((3, 3), 2, (1, 1), (0, 0), (1, 1), 1, (2, 6, 5, 5)), ((3, 3), 1, (1, 1), (0, 0), (1, 1), 1, (2, 6, 5, 7)),
            ((5, 4), 2, (2, 0), (1, 1), (1, 1), 2, (1, 6, 5, 3)),
            ((16, 16), 8, (4, 4), (0, 0), (1, 1), 1, (1, 6, 3, 3)),
            ((7, 5), 3, (0, 4), (2, 0), (1, 1), 3, (2, 6, 3, 5)), ((2, 3), 1, (3, 1), (0, 0), (2, 3), 1, (2, 6, 9, 5)),
            ((4, 4), 1, (0, 0), (0, 0), (1, 1), 1, (2, 6, 3, 1)), ((2, 2), 2, (0, 0), (1, 0), (1, 1), 1, (2, 6, 3, 4))):
        yield dict(in_channels=6, out_channels=6, kernel=list(kernel), stride=[stride] * 2, padding=list(padding),
                   output_padding=list(further), dilation=list(dilation), groups=groups), shape


def plain(a, x, w):
    """PyTorch's, without bias; of a larger kernel the same rows and columns."""
    size = [(n - 1) * s - 2 * p + d * (k - 1) + f + 1 for n, k, s, p, d, f in zip(
        x.shape[2:], a['kernel'], a['stride'], a['padding'], a['dilation'], a['output_padding'])]
    whole = F.conv_transpose2d(x, w, None, tuple(a['stride']), 0, 0, a['groups'], tuple(a['dilation']))
    (top, left), (h, w) = a['padding'], size
    whole = F.pad(whole, (0, max(0, left + w - whole.shape[3]), 0, max(0, top + h - whole.shape[2])))
    return whole[:, :, top:top + h, left:left + w]


def biases(a, b, size):
    """[O s s], of the phases, to the pixels."""
    s = a['stride'][0]
    rows, columns = ((torch.arange(n) + p) % s for n, p in zip(size, a['padding']))
    return b.reshape(-1, s, s)[:, rows][:, :, columns]


@torch.no_grad()
def folded(a, layer, x, size):
    """What the deconvolved convolution gives, one block of all channels, by PyTorch's transposed one."""
    mean, deconv = layer.statistics(layer.samples(x), layer.running_mean, layer.running_deconv)
    rows = layer.weight.flatten(1) @ deconv[0]
    return plain(a, x, transposed(a, rows.reshape(layer.weight.shape))) + biases(a, layer.bias - rows @ mean[0], size)


def check(nd_conv2d, shuffle):
    """The convolution is the transposed one; deconvolved, it is that of the folded weights with a bias of each phase;
    and what autograd has of it are its finite differences."""
    normal = lambda *sizes: torch.randn(*sizes, dtype=torch.float64)
    for a, shape in cases():
        conv, cut = convolution(a)
        x, w = normal(*shape), normal(6, 6 // a['groups'], *a['kernel'])
        y = shuffle(cut, F.conv2d(x, weights(a, w), None, 1, conv['padding'], conv['dilation'], a['groups']))
        error = float((y - plain(a, x, w)).abs().max())
        layer = nd_conv2d(dict(conv, block=6 // a['groups'], n_iter=5, eps=1e-2, momentum=0.1, cov_sampling_stride=1))
        layer.double()
        with torch.no_grad():
            layer.weight.copy_(normal(*layer.weight.shape)), layer.bias.copy_(normal(*layer.bias.shape))
            if a['groups'] == 1:
                error = max(error, float((shuffle(cut, layer(x)) - folded(a, layer, x, y.shape[2:])).abs().max()))
        print('transposed %s: %.1e' % (', '.join('%s %s' % (k, a[k]) for k in a if k != 'out_channels'), error))
        assert error < 1e-9
        if x.numel() < 200:
            assert torch.autograd.gradcheck(lambda v: shuffle(cut, layer(v)), x.requires_grad_(), fast_mode=True)
