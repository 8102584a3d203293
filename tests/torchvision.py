#!/usr/bin/python3
"""State dicts of torchvision's networks, both ways, with the same logits; blanch.convert: torchvision.py BLANCH
[TEST...]. Prints TAP; needs torchvision."""
import json
import os
import re
import struct
import subprocess
import sys
import tempfile

import tap
from pictures import png
from tap import check

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path = [folder for folder in sys.path if os.path.abspath(folder or '.') != os.path.join(ROOT, 'tests')]
try:
    import numpy as np
    import torch
    import torchvision
    from PIL import Image
except ImportError:
    tap.skip_all('no torchvision for ' + sys.executable)

BLANCH = os.path.abspath(sys.argv[1])
HOME = tempfile.mkdtemp(prefix='blanch-torchvision-')
NAMES = ('resnet18', 'resnet50', 'vgg11', 'vgg11_bn', 'vgg16', 'vgg16_bn', 'vgg19', 'vgg19_bn', 'densenet121',
         'mobilenet_v2')
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZE, CLASSES = 64, 7


def path(name):
    return os.path.join(HOME, name)


def run(*command, status=0):
    done = subprocess.run([BLANCH, *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          encoding='utf-8')
    check(done.returncode == status, '%s: %d: %s' % (' '.join(map(str, command)), done.returncode, done.stderr[-400:]))
    return done


def convert(source, to, status=0):
    done = subprocess.run([sys.executable, os.path.join(ROOT, 'python', 'blanch', 'convert.py'), source, to],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding='utf-8')
    check(done.returncode == status, '%d: %s' % (done.returncode, done.stderr))
    return done.stderr


def picture():
    with open(path('picture.png'), 'wb') as f:
        f.write(png(SIZE * 256 // 224, SIZE * 256 // 224, os.urandom(3 * (SIZE * 256 // 224) ** 2)))
    return path('picture.png')


def made(name):
    """With statistics that are not those of the beginning."""
    torch.manual_seed(1)
    network = getattr(torchvision.models, name)(num_classes=CLASSES)
    for key, value in network.state_dict().items():
        if 'running_mean' in key:
            value.normal_(0, 0.1)
        if 'running_var' in key:
            value.uniform_(0.5, 1.5)
    return network.eval()


def probabilities(network, file, mean=MEAN, deviation=DEVIATION):
    view = torchvision.transforms.Compose([torchvision.transforms.CenterCrop(SIZE), torchvision.transforms.ToTensor(),
                                           torchvision.transforms.Normalize(mean, deviation)])
    with torch.no_grad():
        return torch.softmax(network(view(Image.open(file))[None])[0].double(), 0).numpy()


def answered(file, *how):
    classes = json.loads(run('predict', file, '--topk', CLASSES, '--json', *how).stdout)['images'][0]['classes']
    return np.array([c['probability'] for c in sorted(classes, key=lambda c: c['class'])])


def tensors(file):
    with open(file, 'rb') as f:
        header = json.loads(f.read(struct.unpack('<Q', f.read(8))[0]))
        data = f.read()
    kinds = {'F32': np.float32, 'I64': np.int64}
    return {name: torch.from_numpy(np.frombuffer(data[slice(*t['data_offsets'])], kinds[t['dtype']])
                                   .reshape(t['shape']).copy()) for name, t in header.items() if name[0] != '_'}


def old_names(state):
    """As the files of DenseNet that torchvision hands out have them."""
    return {re.sub(r'(denselayer\d+\.(?:norm|conv))([12])\.', r'\1.\2.', name): value
            for name, value in state.items()}


def both_ways(name):
    file, network, model = picture(), made(name), 'torchvision:' + name
    torch.save(old_names(network.state_dict()), path('w.pth'))
    convert(path('w.pth'), path('w.safetensors'))
    expected = probabilities(network, file)
    found = answered(file, '--weights', path('w.safetensors'), '--model', model, '--size', SIZE)
    error = np.abs(found - expected).max()
    check(error < 1e-4, 'probabilities differ by %g' % error)
    out = path('run-' + name)
    run('train', '--model', model, '--data', 'synthetic:3x%dx%d:%d' % (SIZE, SIZE, CLASSES), '--size', SIZE, '--init',
        path('w.safetensors'), '--batch', 2, '--steps', 1, '--lr', 1e-3, '--no-tune', '--out', out)
    network.load_state_dict(tensors(os.path.join(out, 'last.safetensors')))     # strictly
    with open(os.path.join(out, 'config.json'), encoding='utf-8') as f:
        view = json.load(f)['view']
    expected = probabilities(network, file, view['mean'], view['deviation'])
    if view['augment'] != 'imagenet':       # the view of synthetic images crops nothing
        file = path('small.png')
        Image.open(path('picture.png')).crop((4, 4, 4 + SIZE, 4 + SIZE)).save(file)
    error = np.abs(answered(file, '--run', out) - expected).max()
    check(error < 1e-4, 'after a step probabilities differ by %g' % error)


for _name in NAMES:
    globals()['test_' + _name] = lambda name=_name: both_ways(name)


def test_convert():
    """What trainers save around a state dict is taken off; all but tensors is refused, and nothing of it is run."""
    network = made('resnet18')
    state = network.state_dict()
    for wrapped in ({'model': state, 'epoch': 3}, {'state_dict': {'module.' + k: v for k, v in state.items()}}):
        torch.save(wrapped, path('w.pth'))
        convert(path('w.pth'), path('w.safetensors'))
        made_of = tensors(path('w.safetensors'))
        check(all(torch.equal(value, state[name]) for name, value in made_of.items()), 'values')
    torch.save(network, path('whole.pth'))
    os.remove(path('w.safetensors'))
    said = convert(path('whole.pth'), path('w.safetensors'), status=2)
    check('weights_only' in said and '\x1b' not in said, 'a pickled network')
    said = convert(path('none.pth'), path('w.safetensors'), status=2)
    check('none.pth: No such file' in said and 'weights_only' not in said, said)
    said = convert(path('w.pth'), path('none/w.safetensors'), status=2)
    check(path('none/w.safetensors') + ': No such' in said, said)
    torch.save({'a': 1}, path('w.pth'))
    check('state dict' in convert(path('w.pth'), path('w.safetensors'), status=2), 'no tensors')
    check(not os.path.exists(path('w.safetensors')), 'something was written')
    torch.save(state, path('w.pth'))
    done = run('predict', picture(), '--weights', path('w.pth'), '--model', 'torchvision:resnet18', status=2)
    check('python -m blanch.convert' in done.stderr and done.stderr.count('\n') == 1, done.stderr)
    torch.save(state, path('old.pth'), _use_new_zipfile_serialization=False)
    done = run('predict', picture(), '--weights', path('old.pth'), '--model', 'torchvision:resnet18', status=2)
    check('python -m blanch.convert' in done.stderr and done.stderr.count('\n') == 1, done.stderr)


if __name__ == '__main__':
    tap.need_device(BLANCH)
    sys.exit(tap.run(tap.functions(globals(), sys.argv[2:])))
