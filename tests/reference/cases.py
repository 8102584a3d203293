"""The single-layer cases that oracle.py writes: a name, the operation, its attributes, the inputs' shapes; labels are
('labels', how many classes, their shape). New ones come last: a case's place is its seed."""
import numpy as np


def conv(ci, co, k, stride=1, padding=None, dilation=1, groups=1, bias=True):
    k = k if isinstance(k, tuple) else (k, k)
    padding = (dilation * (k[0] - 1) // 2, dilation * (k[1] - 1) // 2) if padding is None else (padding, padding)
    return dict(in_channels=ci, out_channels=co, kernel=list(k), stride=[stride, stride], padding=list(padding),
                dilation=[dilation, dilation], groups=groups, bias=bias)


def nd(a, block=64, n_iter=5, sampling=3, eps=1e-5, freeze=False, freeze_iter=100, **more):
    block = min(block, a['in_channels'])
    block = a['in_channels'] // a['groups'] if a['groups'] > 1 else int(np.gcd(block, a['in_channels']))
    return dict(a, block=block, n_iter=n_iter, eps=eps, momentum=0.1, cov_sampling_stride=sampling * a['stride'][0],
                freeze=freeze, freeze_iter=freeze_iter, **more)


def layer_cases():
    yield 'conv-3x3', 'conv2d', conv(5, 7, 3), (2, 5, 9, 11)
    yield 'conv-1x1', 'conv2d', conv(33, 65, 1, bias=False), (3, 33, 8, 8)
    yield 'conv-1x1-stride2', 'conv2d', conv(16, 24, 1, stride=2, bias=False), (2, 16, 9, 9)
    yield 'conv-3x3-stride2', 'conv2d', conv(16, 32, 3, stride=2), (2, 16, 15, 17)
    yield 'conv-7x7-stride2', 'conv2d', conv(3, 64, 7, stride=2, bias=False), (2, 3, 32, 32)
    yield 'conv-5x5-valid', 'conv2d', conv(4, 6, 5, padding=0), (2, 4, 12, 12)
    yield 'conv-3x3-dilated', 'conv2d', conv(8, 8, 3, dilation=2), (2, 8, 14, 14)
    yield 'conv-1x7', 'conv2d', conv(6, 6, (1, 7)), (2, 6, 10, 13)
    yield 'conv-grouped', 'conv2d', conv(32, 64, 3, groups=4), (2, 32, 8, 8)
    yield 'conv-depthwise', 'conv2d', conv(24, 24, 3, groups=24, bias=False), (2, 24, 10, 10)
    yield 'conv-depthwise-7x7-stride2', 'conv2d', conv(22, 44, 7, stride=2, groups=22), (2, 22, 16, 16)
    yield 'conv-64x64', 'conv2d', conv(64, 64, 3), (4, 64, 16, 16)
    yield 'conv-one-pixel', 'conv2d', conv(512, 32, 1), (3, 512, 1, 1)
    yield 'batchnorm', 'batchnorm2d', dict(channels=13, eps=1e-5, momentum=0.1), (4, 13, 7, 9)
    yield 'batchnorm-one-pixel', 'batchnorm2d', dict(channels=64, eps=1e-5, momentum=0.1), (8, 64, 1, 1)
    yield 'linear', 'linear', dict(in_features=37, out_features=11, bias=True), (6, 37)
    yield 'maxpool-2', 'maxpool2d', dict(kernel=[2, 2], stride=[2, 2], padding=[0, 0]), (2, 5, 9, 8)
    yield 'maxpool-3-stride2', 'maxpool2d', dict(kernel=[3, 3], stride=[2, 2], padding=[1, 1]), (2, 5, 11, 11)
    yield 'avgpool-2', 'avgpool2d', dict(kernel=[2, 2], stride=[2, 2], padding=[0, 0]), (2, 5, 8, 8)
    yield 'global-avgpool', 'global_avgpool2d', {}, (3, 17, 5, 7)
    yield 'relu', 'relu', {}, (2, 9, 5, 5)
    yield 'relu6', 'relu6', {}, (2, 9, 5, 5)
    yield 'sigmoid', 'sigmoid', {}, (2, 9, 5, 5)
    yield 'add', 'add', {}, (2, 9, 5, 7), (2, 9, 5, 7)
    yield 'mul-broadcast', 'mul', {}, (2, 9, 5, 7), (2, 9, 1, 1)
    yield 'cat', 'cat', {}, (2, 9, 5, 7), (2, 4, 5, 7)
    yield 'slice-channels', 'slice_channels', dict(begin=3, end=8), (2, 9, 5, 7)
    yield 'flatten', 'flatten', {}, (3, 9, 5, 7)
    yield 'nd-conv-first', 'nd_conv2d', nd(conv(3, 16, 3), n_iter=15), (4, 3, 16, 16)
    yield 'nd-conv-one-block', 'nd_conv2d', nd(conv(8, 12, 3)), (4, 8, 12, 12)
    yield 'nd-conv-interleaved-blocks', 'nd_conv2d', nd(conv(24, 10, 3), block=8), (4, 24, 12, 12)
    yield 'nd-conv-gcd-block', 'nd_conv2d', nd(conv(24, 10, 3), block=16), (3, 24, 9, 9)
    yield 'nd-conv-1x1', 'nd_conv2d', nd(conv(32, 16, 1), block=16), (4, 32, 9, 9)
    yield 'nd-conv-1x1-stride2', 'nd_conv2d', nd(conv(16, 16, 1, stride=2)), (8, 16, 8, 8)
    yield 'nd-conv-3x3-stride2', 'nd_conv2d', nd(conv(8, 8, 3, stride=2)), (4, 8, 17, 17)
    yield 'nd-conv-depthwise', 'nd_conv2d', nd(conv(12, 12, 3, groups=12), n_iter=1), (4, 12, 10, 10)
    yield 'nd-conv-grouped', 'nd_conv2d', nd(conv(16, 32, 3, groups=4)), (4, 16, 9, 9)
    yield 'nd-conv-1x7', 'nd_conv2d', nd(conv(6, 6, (1, 7))), (6, 6, 9, 14)
    yield 'nd-conv-1x1-padded', 'nd_conv2d', nd(conv(16, 8, 1, padding=1)), (6, 16, 7, 7)
    yield 'nd-conv-unsampled', 'nd_conv2d', nd(conv(8, 8, 3), sampling=1), (2, 8, 8, 8)
    yield 'nd-conv-7x7-stride2', 'nd_conv2d', nd(conv(3, 8, 7, stride=2), n_iter=15), (4, 3, 32, 32)
    channels = dict(whiten_channels=True)
    yield 'nd-conv-channels', 'nd_conv2d', nd(conv(24, 10, 3), block=8, **channels), (4, 24, 12, 12)
    yield 'nd-conv-channels-7x7-stride2', 'nd_conv2d', nd(conv(3, 8, 7, stride=2), **channels), (4, 3, 32, 32)
    yield 'nd-conv-channels-grouped', 'nd_conv2d', nd(conv(16, 32, 3, groups=4), **channels), (4, 16, 9, 9)
    yield 'nd-conv-channels-depthwise', 'nd_conv2d', nd(conv(12, 12, 3, groups=12), **channels), (4, 12, 10, 10)
    yield 'nd-conv-channels-4F', 'nd_conv2d', nd(conv(24, 10, 3), block=8, sampling=1, cov_samples=-4,
                                                 **channels), (4, 24, 12, 12)
    yield 'nd-conv-4F', 'nd_conv2d', nd(conv(24, 10, 3), block=8, sampling=1, cov_samples=-4), (4, 24, 12, 12)
    yield 'nd-linear', 'nd_linear', dict(in_features=48, out_features=10, bias=True, block=16, n_iter=5, eps=1e-5,
                                         momentum=0.1), (12, 48)
    yield 'nd-linear-one-block', 'nd_linear', dict(in_features=32, out_features=10, bias=True, block=32, n_iter=5,
                                                   eps=1e-5, momentum=0.1), (24, 32)
    yield 'channel-deconv', 'channel_deconv', dict(block=16, n_iter=5, eps=1e-2, momentum=0.1,
                                                   cov_sampling_stride=3), (4, 32, 7, 7)
    yield 'channel-deconv-remainder', 'channel_deconv', dict(block=16, n_iter=5, eps=1e-2, momentum=0.1,
                                                             cov_sampling_stride=3), (4, 38, 7, 7)
    for name in ('gelu', 'silu', 'hardswish', 'hardsigmoid', 'tanh'):
        yield name, name, {}, (2, 9, 5, 5)
    yield 'gelu-tanh', 'gelu', dict(tanh=True), (2, 9, 5, 5)
    yield 'leaky-relu', 'leaky_relu', dict(slope=0.2), (2, 9, 5, 5)
    yield 'elu', 'elu', dict(alpha=1.5), (2, 9, 5, 5)
    yield 'layernorm', 'layernorm', dict(channels=13, eps=1e-6), (3, 13, 5, 7)
    yield 'layernorm-one-pixel', 'layernorm', dict(channels=96), (5, 96, 1, 1)
    yield 'linear-pixels', 'linear', dict(in_features=37, out_features=11, bias=True), (3, 37, 5, 4)
    yield 'nd-linear-pixels', 'nd_linear', dict(in_features=48, out_features=10, bias=True, block=16, n_iter=5,
                                                eps=1e-5, momentum=0.1, cov_sampling_stride=3), (4, 48, 7, 9)
    yield 'scale', 'scale', {}, (3, 12, 5, 7)
    yield 'channel-shuffle', 'channel_shuffle', dict(groups=3), (2, 12, 5, 7)
    pool = dict(kernel=[3, 3], stride=[2, 2], padding=[1, 1])
    yield 'maxpool-ceil', 'maxpool2d', dict(pool, padding=[0, 0], ceil_mode=True), (2, 5, 8, 7)
    yield 'maxpool-ceil-padded', 'maxpool2d', dict(pool, stride=[3, 2], ceil_mode=True), (2, 5, 5, 6)
    yield 'avgpool-ceil', 'avgpool2d', dict(pool, ceil_mode=True), (2, 5, 8, 6)
    yield 'avgpool-exclude-pad', 'avgpool2d', dict(pool, count_include_pad=False), (2, 5, 7, 5)
    yield 'avgpool-ceil-exclude-pad', 'avgpool2d', dict(pool, ceil_mode=True, count_include_pad=False), (2, 5, 8, 6)
    yield 'adaptive-avgpool', 'adaptive_avgpool2d', dict(out=[3, 2]), (2, 5, 7, 9)
    yield 'adaptive-avgpool-more', 'adaptive_avgpool2d', dict(out=[5, 7]), (2, 5, 3, 7)
    yield 'batchnorm-own-eps', 'batchnorm2d', dict(channels=13, eps=1e-3, momentum=0.01), (4, 13, 7, 9)
    yield 'attention', 'attention', dict(heads=2), (2, 42, 5, 7)
    yield 'attention-causal', 'attention', dict(heads=3, causal=True), (2, 144, 37, 1)
    yield 'attention-many-tokens', 'attention', dict(heads=1), (1, 48, 20, 20)
    yield 'position', 'position', {}, (3, 12, 5, 3)
    yield 'class-token', 'class_token', {}, (3, 12, 5, 3)
    yield 'token', 'token', dict(index=4), (3, 12, 5, 3)
    yield 'sequence-pool', 'sequence_pool', {}, (3, 12, 5, 3), (3, 1, 5, 3)
    yield 'group-norm', 'group_norm', dict(groups=4, channels=12, eps=1e-6), (3, 12, 5, 7)
    yield 'group-norm-one-group', 'group_norm', dict(groups=1, channels=33), (2, 33, 9, 6)
    turned = dict(in_channels=9, out_channels=7, kernel=[3, 3], stride=[2, 2], padding=[1, 1], output_padding=[1, 1],
                  dilation=[1, 1], groups=1, bias=True)
    yield 'conv-transpose-3x3-stride2', 'conv_transpose2d', turned, (2, 9, 5, 7)
    yield 'conv-transpose-2x2-stride2', 'conv_transpose2d', dict(turned, kernel=[2, 2], padding=[0, 0], bias=False,
                                                                 output_padding=[0, 0]), (3, 9, 4, 5)
    yield 'conv-transpose-dilated-grouped', 'conv_transpose2d', dict(
        turned, in_channels=8, out_channels=6, kernel=[2, 3], stride=[3, 1], padding=[1, 0], output_padding=[2, 0],
        dilation=[1, 2], groups=2), (2, 8, 5, 4)
    yield 'upsample-nearest', 'upsample', dict(scale=[2, 3]), (2, 5, 4, 7)
    yield 'upsample-nearest-size', 'upsample', dict(out=[7, 3]), (2, 5, 5, 4)
    yield 'upsample-bilinear', 'upsample', dict(scale=[2, 2], bilinear=True), (2, 5, 4, 7)
    yield 'upsample-bilinear-size', 'upsample', dict(out=[11, 5], bilinear=True), (2, 5, 4, 7)
    yield 'pixel-shuffle', 'pixel_shuffle', dict(factor=3), (2, 18, 3, 5)
    yield 'softmax', 'softmax', {}, (3, 13, 5, 7)
    yield 'softmax-one-pixel', 'softmax', {}, (5, 64, 1, 1)
    yield 'shift', 'shift', {}, (3, 12, 5, 7), (3, 12, 1, 1)
    yield 'sinusoidal-position', 'sinusoidal_position', {}, (2, 12, 5, 3)
    yield 'number-embedding', 'number_embedding', dict(channels=12), (5, 1, 1, 1)
    yield 'gaussian-divergence', 'gaussian_divergence', {}, (3, 12, 5, 3)
    yield 'gaussian-sample', 'gaussian_sample', {}, (3, 12, 5, 3)
    yield 'nd-conv-variances', 'nd_conv2d', nd(conv(24, 10, 3), block=8, variances=True), (4, 24, 12, 12)
    yield 'nd-linear-variances', 'nd_linear', dict(in_features=48, out_features=10, bias=True, block=16, n_iter=5,
                                                   eps=1e-5, momentum=0.1, variances=True), (12, 48)
    yield 'softmax-cross-entropy', 'softmax_cross_entropy', {}, (7, 13), ('labels', 13, 7)
    yield 'softmax-cross-entropy-pixels', 'softmax_cross_entropy', {}, (3, 6, 9, 7), ('labels', 6, 3, 9, 7)
    for sum in (False, True):
        ending, shape = '-sum' if sum else '', (4, 3, 5, 7)
        yield 'mean-squared-error' + ending, 'mean_squared_error', dict(sum=sum), shape, shape
        yield 'l1-loss' + ending, 'l1_loss', dict(sum=sum), shape, shape
        yield 'binary-cross-entropy' + ending, 'binary_cross_entropy', dict(sum=sum), shape, shape
    yield 'binary-cross-entropy-and-more', 'binary_cross_entropy', dict(sum=True), shape, shape, (4, 1, 1, 1)
    yield 'embedding', 'embedding', dict(count=7, channels=12), ('labels', 7, 5)
    yield 'pixel-shuffle-cut', 'pixel_shuffle', dict(factor=2, top=1, left=3, bottom=2), (3, 20, 3, 5)
    yield 'nd-conv-2x2-padded', 'nd_conv2d', nd(conv(12, 8, 2, padding=1), block=6), (4, 12, 7, 9)
