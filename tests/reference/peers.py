#!/usr/bin/python3
"""Times of PyTorch, ONNX Runtime and OpenVINO, for tests/benchmark.py: one JSON object on standard output.

  peers.py step NETWORK --mode plain|channels_last|compile --batch 128 --steps 3 --threads 2
  peers.py infer NETWORK --mode plain|channels_last|compile|onnxruntime|openvino --batch 1 --steps 20 --threads 2
  peers.py step NETWORK --peer-device cuda|xpu [--autocast fp16|bf16] ...

step times training steps, infer forward passes in evaluation mode. NETWORK is a file stem under architectures/; the
network and its training are those of oracle.py, but for attention, which is PyTorch's own. In infer batch norm is
folded into the convolutions before it. float32 is kept everywhere, TF32 off, but with --autocast, which is
torch.autocast (fp16 with a GradScaler), statistics of deconvolution in float32. A mode that does not work here gives
{"failed": the reason}, and exit status 0.

--peer-device is a device of PyTorch's, which calls those of ROCm cuda too. Images lie there before the clock starts,
and the device has ended all work when it starts and when it stops; each step is timed by itself, as `blanch bench`
does. meta computes nothing: it finds tensors that are made elsewhere.
"""
import argparse
import contextlib
import json
import os
import re
import resource
import shutil
import subprocess
import tempfile
import time
import torch
import torch.nn.functional as F
import oracle

COMPILE = 3                                      # runs that may still compile, or choose among algorithms
HALVES = {'fp16': torch.float16, 'bf16': torch.bfloat16}
DRIVERS = (['nvidia-smi', '--query-gpu=driver_version', '--format=csv,noheader'],)


class Unavailable(Exception):
    """Why a mode does not work with this interpreter."""


# --- what it is ------------------------------------------------------------------------------

def blas():
    """Of torch.mm. Debian's PyTorch has what the system links as libblas, wheels bring their own."""
    with open('/proc/self/maps') as f:
        mapped = set(re.findall(r'/lib((?:openblas|blas|mkl_rt|blis)[^/]*?)\.so', f.read()))
    built = re.search(r'BLAS_INFO=(\w+)', torch.__config__.show())
    mkl = re.search(r'Math Kernel Library Version (\S+)', torch.__config__.show())
    if mkl:
        return 'MKL ' + mkl.group(1).split('-')[0]
    if mapped == {'blas'}:
        return 'the reference BLAS'
    return ' '.join(sorted(mapped - {'blas'})) or (built.group(1) if built else 'an unknown BLAS')


def driver(kind):
    """As the system tells, or None."""
    if kind == 'xpu':
        return getattr(torch.xpu.get_device_properties(0), 'driver_version', None)
    if torch.version.hip:
        return 'HIP ' + torch.version.hip
    for words in DRIVERS:
        if shutil.which(words[0]):
            done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            return (done.stdout.strip().splitlines() or [None])[0] if done.returncode == 0 else None
    return None


def describe_device(o):
    """What a reader needs of another device than the CPU."""
    kind = o.peer_device
    if kind == 'cpu':
        return {}
    if kind == 'meta':
        return dict(device='meta')
    cudnn = torch.backends.cudnn.version() if kind == 'cuda' else None
    return dict(device=getattr(torch, kind).get_device_name(0), driver=driver(kind),
                cudnn='.'.join(map(str, (cudnn // 10000, cudnn // 100 % 100, cudnn % 100))) if cudnn else None)


def describe(o):
    onednn = re.search(r'v(\d[\d.]*)', next((l for l in torch.__config__.show().splitlines() if 'MKL-DNN' in l), ''))
    return dict(peer='PyTorch ' + torch.__version__, mode=o.mode, blas=blas(), threads=torch.get_num_threads(),
                onednn=onednn.group(1) if onednn else None, autocast=o.autocast, peer_device=o.peer_device,
                memory_format='channels_last' if o.mode == 'channels_last' else 'contiguous', **describe_device(o))


def attention(a, x):
    """As a user would write it."""
    q, k, v = x.flatten(2).unflatten(1, (3, a['heads'], -1)).transpose(3, 4).unbind(1)        # (N, heads, T, D)
    y = F.scaled_dot_product_attention(q, k, v, is_causal=bool(a.get('causal')))
    return y.transpose(2, 3).flatten(1, 2).unflatten(2, x.shape[2:])


def compiled(net):
    if not hasattr(torch, 'compile'):
        raise Unavailable('PyTorch %s has no torch.compile' % torch.__version__)
    return torch.compile(net)


# --- where -----------------------------------------------------------------------------------

def set_up(o):
    """float32 as float32, and the fastest algorithms that keep it."""
    if o.peer_device in ('cuda', 'xpu') and not (hasattr(torch, o.peer_device) and
                                                 getattr(torch, o.peer_device).is_available()):
        raise Unavailable('PyTorch %s has no device %s here' % (torch.__version__, o.peer_device))
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    if o.peer_device == 'xpu' and hasattr(torch.backends, 'mkldnn'):
        torch.backends.mkldnn.allow_tf32 = False
    if o.autocast:
        oracle.Whitening.statistics = in_float32(oracle.Whitening.statistics)


def in_float32(statistics):
    """Rows rounded to 16 bits, sums and roots not; the running averages are float32."""
    def wrapped(self, rows, *buffers):
        with torch.autocast(rows.device.type, enabled=False):
            return statistics(self, rows.float(), *buffers)
    return wrapped


def autocast(o):
    return torch.autocast(o.peer_device, HALVES[o.autocast]) if o.autocast else contextlib.nullcontext()


def scaler(o):
    """Of losses, where gradients in half precision could vanish; None elsewhere."""
    if o.autocast != 'fp16':
        return None
    return torch.amp.GradScaler(o.peer_device) if hasattr(torch.amp, 'GradScaler') else torch.cuda.amp.GradScaler()


def synchronise(o):
    if o.peer_device in ('cuda', 'xpu'):
        getattr(torch, o.peer_device).synchronize()


def peak(o):
    """Of a device's memory, as PyTorch's own allocator counts it."""
    if o.peer_device not in ('cuda', 'xpu'):
        return {}
    return dict(peak_device_mb=getattr(torch, o.peer_device).max_memory_allocated() // 2 ** 20)


def result(o, times, **more):
    times = sorted(times)
    return dict(describe(o), **peak(o), network=o.network, batch=o.batch, **more, min_ms=round(1e3 * times[0], 2),
                peak_rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def median_ms(times):
    return round(1e3 * sorted(times)[len(times) // 2], 2)


# --- a training step -------------------------------------------------------------------------

def trainer(o, net):
    """What does a step on a batch; gives the loss."""
    call = compiled(net) if o.mode == 'compile' else net
    lr = 1e-5 if net.spec.get('task') == 'generate' else 0.01    # a sum over pixels: nothing is to overflow
    sgd, scale = torch.optim.SGD(net.parameters(), lr, 0.9, weight_decay=1e-3), scaler(o)

    def train(x, y):
        sgd.zero_grad()
        with autocast(o):
            loss = oracle.loss_of(call, net.spec, x, y)
        if scale:
            scale.scale(loss).backward()
            scale.step(sgd)
            scale.update()
        else:
            loss.backward()
            sgd.step()
        return loss
    return train


def step(o):
    net = oracle.Network(o.network)
    oracle.initialise(net, 0)
    net.to(o.peer_device).train()
    if o.mode == 'channels_last':
        net.to(memory_format=torch.channels_last)
    warm = COMPILE if o.mode == 'compile' or o.peer_device != 'cpu' else 1
    spec, times, train = net.spec, [], trainer(o, net)
    for x, y in oracle.batches(o.steps + warm, o.batch, spec['input'], spec['num_classes'], 0, oracle.has_pixels(spec)):
        if spec.get('task') == 'generate':
            x = x.sigmoid()                          # pixels
        if o.mode == 'channels_last':
            x = x.contiguous(memory_format=torch.channels_last)
        x, y = x.to(o.peer_device), y.to(o.peer_device)
        synchronise(o)
        t = time.perf_counter()
        loss = train(x, y)
        synchronise(o)
        times.append(time.perf_counter() - t)
    times = times[warm:]
    finite = None if loss.is_meta else bool(loss.isfinite())
    return result(o, times, step_ms=median_ms(times), images_per_s=round(1e3 * o.batch / median_ms(times), 2),
                  finite=finite)


# --- inference -------------------------------------------------------------------------------

def trained(o):
    """In evaluation mode, its statistics those of a batch: such that no activation vanishes."""
    net = oracle.Network(o.network)
    oracle.initialise(net, 0)
    for layer in net.modules():
        if hasattr(layer, 'momentum'):
            layer.momentum = 1.0
    net.train()
    with torch.no_grad():                        # on the CPU, in float32
        net(next(oracle.batches(1, 8, net.spec['input'], net.spec['num_classes'], 1))[0])
    return net.eval()


def folded(net):
    """As straight code, which lets every tensor go after its last use."""
    from torch.fx.experimental.optimization import fuse

    class Tracer(torch.fx.Tracer):
        """The oracle's linear layer looks at its input's shape, which no trace can: it is one step."""
        def is_leaf_module(self, module, name):
            return isinstance(module, torch.nn.Linear) or super().is_leaf_module(module, name)

    return fuse(torch.fx.GraphModule(net, Tracer().trace(net)), no_trace=True)


def torch_call(o, net, x):
    net = folded(net).to(o.peer_device)
    if o.mode == 'channels_last':
        net.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)
    if o.mode == 'compile':
        os.environ['TORCHINDUCTOR_FREEZING'] = '1'          # packs the weights
        net = compiled(net)

    def call():
        with autocast(o):
            return net(x.to(o.peer_device)).float().cpu().numpy()
    return call


def exported(net, x, folder):
    path = os.path.join(folder, 'network.onnx')
    more = dict(dynamo=False) if hasattr(torch, 'compile') else {}
    torch.onnx.export(net, x, path, input_names=['x'], output_names=['y'], opset_version=13, **more)
    return path


def onnxruntime_call(o, path, x, facts):
    try:
        import onnxruntime
    except ImportError as e:
        raise Unavailable(str(e))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = o.threads, 1
    session = onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])
    facts.update(peer='ONNX Runtime ' + onnxruntime.__version__, threads=o.threads)
    return lambda: session.run(['y'], {'x': x.numpy()})[0]


def openvino_call(o, path, x, facts):
    try:
        import openvino
    except ImportError as e:
        raise Unavailable(str(e))
    model = openvino.Core().compile_model(path, 'CPU', {
        'INFERENCE_NUM_THREADS': o.threads, 'PERFORMANCE_HINT': 'LATENCY', 'INFERENCE_PRECISION_HINT': 'f32'})
    facts.update(peer='OpenVINO ' + openvino.__version__.split('-')[0], threads=o.threads)
    return lambda: model([x.numpy()])[0]


def infer(o):
    net = trained(o)
    x = next(oracle.batches(1, o.batch, net.spec['input'], net.spec['num_classes'], 0))[0]
    facts, times = {}, []
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        truth = torch.from_numpy(net(x).numpy())
        if o.mode in ('onnxruntime', 'openvino'):
            if o.peer_device != 'cpu':
                raise Unavailable('is timed on the CPU alone')
            make = onnxruntime_call if o.mode == 'onnxruntime' else openvino_call
            call = make(o, exported(net, x, folder), x, facts)
            facts.update(blas=None, onednn=None, memory_format=None)
        else:
            call = torch_call(o, net, x)
        for _ in range(o.steps + COMPILE):
            t = time.perf_counter()
            y = call()
            times.append(time.perf_counter() - t)
    error = float((torch.from_numpy(y) - truth).abs().max() / truth.abs().max())
    if not error < (0.1 if o.autocast else 1e-2):
        raise Unavailable('its results are not PyTorch\'s: %.1e apart' % error)
    times = times[COMPILE:]
    return dict(result(o, times, inference_ms=median_ms(times), error=float('%.1e' % error)), **facts)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('what', choices=('step', 'infer'))
    p.add_argument('network')
    p.add_argument('--mode', default='plain', choices=('plain', 'channels_last', 'compile', 'onnxruntime', 'openvino'))
    p.add_argument('--peer-device', default='cpu', choices=('cpu', 'cuda', 'xpu', 'meta'))
    p.add_argument('--autocast', choices=tuple(HALVES), help='16 bits where PyTorch holds them to be enough')
    p.add_argument('--batch', type=int, default=128)
    p.add_argument('--steps', type=int, default=3)
    p.add_argument('--threads', type=int, default=os.cpu_count())
    o = p.parse_args()
    torch.set_num_threads(o.threads)
    if hasattr(F, 'scaled_dot_product_attention'):
        oracle._FUNCTIONS['attention'] = attention
    try:
        set_up(o)
        print(json.dumps((step if o.what == 'step' else infer)(o)))
    except Exception as e:
        reason = '%s: %s' % (type(e).__name__, e) if not isinstance(e, Unavailable) else str(e)
        what = dict(peer='PyTorch ' + torch.__version__, mode=o.mode, network=o.network, batch=o.batch)
        print(json.dumps(dict(what, failed=reason.splitlines()[0][:300])))


if __name__ == '__main__':
    main()
