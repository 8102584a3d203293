#!/usr/bin/python3
"""Networks of attention, and ConvNeXt, beside those whose names they have: transformers.py BLANCH [TEST...]. State
dicts both ways with the same probabilities (timm's vit_tiny_patch16_224, torchvision's convnext_tiny); what Blanch
exports in ONNX Runtime; what both of PyTorch's exporters write, read. Prints TAP; needs PyTorch, and what each
test names."""
import json
import os
import subprocess
import sys
import tempfile
import warnings

import tap
from pictures import png
from tap import check

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path = [folder for folder in sys.path if os.path.abspath(folder or '.') != os.path.join(ROOT, 'tests')]
try:
    import numpy as np
    import torch
    from safetensors.torch import load_file, save_file
except ImportError:
    tap.skip_all('no PyTorch and safetensors for ' + sys.executable)

warnings.filterwarnings('ignore')
BLANCH = os.path.abspath(sys.argv[1])
HOME = tempfile.mkdtemp(prefix='blanch-transformers-')
CLASSES = 7


def path(name):
    return os.path.join(HOME, name)


def run(*command):
    done = subprocess.run([BLANCH, *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          encoding='utf-8')
    check(done.returncode == 0, '%s: %d: %s' % (' '.join(map(str, command)), done.returncode, done.stderr[-600:]))
    return done.stdout


def need(name):
    try:
        return __import__(name)
    except ImportError:
        raise tap.Skip('no ' + name)


def picture(size):
    """A file and its pixels from 0 to 1."""
    pixels = np.random.default_rng(5).integers(0, 256, (size, size, 3), dtype=np.uint8)
    with open(path('picture-%d.png' % size), 'wb') as f:
        f.write(png(size, size, pixels.tobytes()))
    return path('picture-%d.png' % size), torch.from_numpy(pixels.transpose(2, 0, 1)[None].astype(np.float32) / 255)


def varied(network):
    """With parameters that are not those of the beginning, where those are 0 or 1."""
    g = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for value in network.parameters():
            value.add_(0.1 * torch.randn(value.shape, generator=g) if value.dim() == 1 or 1 in value.shape else 0)
    return network


def vit(size, patch):
    torch.manual_seed(1)
    return varied(need('timm').create_model('vit_tiny_patch16_224', num_classes=CLASSES, img_size=size,
                                            patch_size=patch))


def convnext():
    torch.manual_seed(1)
    return varied(need('torchvision').models.convnext_tiny(num_classes=CLASSES, stochastic_depth_prob=0.0))


def probabilities(network, image):
    with torch.no_grad():
        return torch.softmax(network.eval()(image)[0].double(), 0).numpy()


def answered(file, *how):
    classes = json.loads(run('predict', file, '--topk', CLASSES, '--json', *how))['images'][0]['classes']
    return np.array([c['probability'] for c in sorted(classes, key=lambda c: c['class'])])


def near(got, wanted, most=2e-5):
    check(np.abs(got - wanted).max() <= most, '%s where %s is expected' % (got, wanted))


def both_ways(name, network, size):
    """Its weights in Blanch, and Blanch's after a step in it."""
    file, image = picture(size)
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, path('in.safetensors'))
    how = ('--model', name, '--norm', 'own', '--weights', path('in.safetensors'), '--size', size, '--normalise', 'none')
    near(answered(file, *how), probabilities(network, image))
    out = path('run-' + name.replace('/', '-'))
    run('train', '--model', name, '--norm', 'own', '--size', size, '--data',
        'synthetic:3x%dx%d:%d' % (size, size, CLASSES), '--steps', 1, '--batch', 2, '--init', path('in.safetensors'),
        '--normalise', 'none', '--no-tune', '--lr', '0.01', '--out', out)
    network.load_state_dict(load_file(out + '/last.safetensors'), strict=True)
    near(answered(file, '--run', out), probabilities(network, image))
    return out


def in_onnx_runtime(image, *how):
    onnx, runtime = need('onnx'), need('onnxruntime')
    run('export', '--onnx', path('out.onnx'), *how)
    onnx.checker.check_model(path('out.onnx'), full_check=True)
    session = runtime.InferenceSession(path('out.onnx'), providers=['CPUExecutionProvider'])
    return torch.softmax(torch.from_numpy(session.run(None, {'images': image.numpy()})[0][0]).double(), 0).numpy()


def out_and_back(name, out, size):
    """A run's network in ONNX Runtime, and read again."""
    file, image = picture(size)
    wanted = answered(file, '--run', out)
    near(in_onnx_runtime(image, '--run', out), wanted)
    near(answered(file, '--model', path('out.onnx')), wanted)


def test_vit_is_timms():
    network = vit(32, 4)
    out_and_back('vit', both_ways('vit-tiny', network, 32), 32)


def test_patches_have_another_size():
    both_ways('vit-tiny/8', vit(40, 8), 40)


def test_convnext_is_torchvisions():
    out_and_back('convnext', both_ways('convnext-tiny', convnext(), 32), 32)


def test_compact_transformer_and_causal_attention_go_out_and_come_back():
    attention = {'op': 'attention', 'attrs': {'heads': 2, 'causal': True}}
    causal = [{'op': 'conv2d', 'name': 'stem', 'attrs': {'out_channels': 16, 'kernel': 8, 'stride': 8}},
              {'op': 'linear', 'name': 'qkv', 'attrs': {'out_features': 48}}, attention, {'op': 'softmax'},
              {'op': 'token', 'attrs': {'index': 15}}, {'op': 'linear', 'name': 'fc', 'attrs': {'out_features': 7}}]
    with open(path('causal.json'), 'w') as f:
        json.dump({'input': [3, 32, 32], 'graph': causal}, f)
    for model, norm in (('cct-2', 'own'), ('cct-2', 'nd'), (path('causal.json'), 'own')):
        out = path('run-%s-%s' % (os.path.basename(model), norm))
        run('train', '--model', model, '--norm', norm, '--data', 'synthetic:3x32x32:%d' % CLASSES, '--steps', 2,
            '--batch', 16, '--normalise', 'none', '--no-tune', '--lr', '0.01', '--out', out)
        out_and_back(model, out, 32)


def test_what_exporters_write_of_a_transformer_is_read():
    file, image = picture(32)
    need('onnxscript')
    network = vit(32, 8)
    network.blocks = network.blocks[:2]
    for fused in True, False:
        for block in network.blocks:
            block.attn.fused_attn = fused
        for dynamo in True, False:
            how = dict(optimize=False, verbose=False) if dynamo else dict(
                opset_version=17, do_constant_folding=False, training=torch.onnx.TrainingMode.PRESERVE)
            torch.onnx.export(network.train(), (torch.cat([image] * 2),), path('vit.onnx'), dynamo=dynamo, **how)
            near(answered(file, '--model', path('vit.onnx'), '--normalise', 'none'), probabilities(network, image))


sys.exit(tap.run(tap.functions(globals(), sys.argv[2:])))
