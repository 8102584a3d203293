#!/usr/bin/env python3
"""Step times and products of Blanch and its peers, where they are installed, on one device, alternating in one run.

  tests/benchmark.py BLANCH [--networks vgg16-bn,vgg16-nd] [--batch 128] [--steps 3] [--rounds 2]
                     [--python /usr/bin/python3,/tmp/peers/bin/python] [--modes plain,channels_last,compile]
  tests/benchmark.py BLANCH --device gpu --peer-device cuda [--precision fp16 --autocast fp16] [--json FILE] [...]
  tests/benchmark.py BLANCH --inference [--networks resnet50-imagenet-bn,mobilenetv2-imagenet-bn] [--batch 1] [...]
  tests/benchmark.py BLANCH --gemm 1024 [--steps 20] [--rounds 2]
  tests/benchmark.py BLANCH --grow vgg16-bn [--batches 16,32,64,128,256] [--steps 3] [--rounds 2] [--device 0:0]

BLANCH is the built program. Each round runs `blanch bench` and then reference/peers.py, with every interpreter and in
every mode, for every network. Tables follow: the medians of the rounds' medians, with the strongest peer; each peer;
memory; what a step executes and how far it is from the device's measured limits.
--inference times forward passes, of ONNX Runtime and OpenVINO too where an interpreter has them: the modes onnxruntime
and openvino. Whatever the norm, peers have batch norm, folded into the convolutions: so does deconvolution fold.
--gemm times a square product by Blanch's own kernel, by CLBlast with its shipped and its
tuned parameters, and by torch.mm.
--grow times one network at growing batches on one core (the sub-device P:D/1) and on all.
Peers use as many threads as there are processors that this process may use. They run on the CPU, but with --peer-device
cuda (ROCm's too) or xpu, in float32 without TF32, or with --autocast; --precision is Blanch's.
--json FILE has every run, and is written after each; --traces DIR a recorded step of each network of Blanch's.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

PEERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'reference', 'peers.py')
ARCHITECTURES = os.path.join(os.path.dirname(PEERS), 'architectures')
# Multiplications of the direct sum that one of the engine stands for, in products; transforms are left out.
SAVED = {'winograd': 2.25, 'winograd4': 4}
# Where importing takes seconds.
FIND_TORCH = 'import sys; from importlib.util import find_spec as f; sys.exit(not (f("torch") and f("numpy")))'
TORCH_MM = '''
import json, sys, time, torch
size, calls, threads = map(int, sys.argv[1:])
torch.set_num_threads(threads)
a, b = torch.rand(size, size) - 0.5, torch.rand(size, size) - 0.5
c = torch.mm(a, b)
wall, used = [], []
for _ in range(calls):
    t, p = time.perf_counter(), time.process_time()
    torch.mm(a, b, out=c)
    wall.append(1e3 * (time.perf_counter() - t))
    used.append(1e3 * (time.process_time() - p) / threads)
wall.sort()
print(json.dumps(dict(name='torch.mm ' + torch.__version__, ms=wall[len(wall) // 2], min_ms=wall[0], cpu_ms=min(used))))
'''


def has_torch(python):
    try:
        if subprocess.run([python, '-c', FIND_TORCH]).returncode == 0:
            return True
    except OSError:
        pass
    print('PyTorch is not installed for %s' % python)
    return False


def run_json(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit('%s: exit status %d: %s' % (' '.join(command), done.returncode, done.stderr.strip()[-400:]))
    return json.loads(done.stdout)


def threads():
    return str(len(os.sched_getaffinity(0)))


def blanch(options, network, batch, device=None):
    model, norm = network.rsplit('-', 1)
    more = ['--device', device] if device else []
    more += ['--inference'] if options.inference else []
    more += ['--precision', options.precision] if options.precision else []
    if options.traces:
        more += ['--trace', os.path.join(options.traces, '%s-%s.json' % (network, options.precision or 'fp32'))]
    return run_json([options.blanch, 'bench', '--model', model, '--norm', norm, '--batch', str(batch), '--steps',
                     str(options.steps), '--json', *more])


def name_of(run):
    """PyTorch 2.15.0, MKL 2024.2, oneDNN 3.13.3, 2 threads, channels_last; of a card its name, cuDNN and driver in the
    place of the CPU's libraries."""
    if run.get('device'):
        where = [run['device'], run.get('cudnn') and 'cuDNN ' + run['cudnn'],
                 run.get('driver') and 'driver ' + run['driver'], None if run['autocast'] else 'TF32 off']
    else:
        where = [run.get('blas'), run.get('onednn') and 'oneDNN ' + run['onednn'], '%d threads' % run['threads']]
    parts = [run['peer'], *where, run.get('memory_format'), 'torch.compile' if run['mode'] == 'compile' else None,
             run.get('autocast') and 'autocast ' + run['autocast']]
    return ', '.join(p for p in parts if p)


def median(runs, key='step_ms'):
    return statistics.median(r[key] for r in runs)


# --- networks -----------------------------------------------------------------------------------

class Peers:
    """Every interpreter in every mode. What does not work for a network is said once."""

    def __init__(self, options, pythons):
        self.options, self.key = options, 'inference_ms' if options.inference else 'step_ms'
        self.ways = [(python, mode) for python in pythons for mode in options.modes.split(',')]
        self.runs, self.failed = {}, {}                             # of a network: the runs of each name, the reason
        self.alone = set()                                          # networks that no peer has

    def run(self, network):
        what, o = 'infer' if self.options.inference else 'step', self.options
        peer = network.rsplit('-', 1)[0] + '-bn' if o.inference else network
        if not os.path.exists(os.path.join(ARCHITECTURES, peer + '.json')):
            if self.ways and network not in self.alone:
                print('%s: peers have the networks of tests/reference/architectures' % network)
            self.alone.add(network)
            return
        for way in self.ways:
            if (network, way) in self.failed:
                continue
            run = run_json([way[0], PEERS, what, peer, '--mode', way[1], '--batch', str(o.batch), '--steps',
                            str(o.steps), '--threads', threads(), '--peer-device', o.peer_device,
                            *(['--autocast', o.autocast] if o.autocast else [])])
            if 'failed' in run:
                print('%s, %s, %s: %s' % (network, run['peer'], way[1], run['failed']))
                self.failed[network, way] = run['failed']
            else:
                self.runs.setdefault(network, {}).setdefault(name_of(run), []).append(run)

    def strongest(self, network):
        """(name, runs), or None."""
        return min(self.runs.get(network, {}).items(), key=lambda way: median(way[1], self.key), default=None)


def compare(options, pythons):
    networks, peers = options.networks.split(','), Peers(options, pythons)
    ours = {n: [] for n in networks}
    for turn in range(options.rounds):
        for network in networks:
            ours[network].append(blanch(options, network, options.batch, options.device))
            write(options, ours, peers)
            peers.run(network)
            write(options, ours, peers)
            print('round %d of %d: %s' % (turn + 1, options.rounds, network), file=sys.stderr)
    report_times(networks, ours, peers)
    report_peers(networks, ours, peers)
    if not options.inference:                                       # where a peer's peak is of its export too
        report_memory(networks, ours, peers)
        report_work(networks, ours)


def write(options, ours, peers):
    """All runs so far. What does not work stands with its mode."""
    if not options.json:
        return
    failed = {n: {mode: why for (of, (_, mode)), why in peers.failed.items() if of == n} for n in ours}
    with open(options.json + '.part', 'w') as f:
        json.dump(dict(networks={n: dict(blanch=ours[n], peers=peers.runs.get(n, {}), failed=failed[n]) for n in ours},
                       key=peers.key, precision=options.precision or 'fp32', autocast=options.autocast), f, indent=1)
    os.replace(options.json + '.part', options.json)


def report_times(networks, ours, peers):
    print('%-28s %14s %14s %10s %12s  %s' % (peers.key.replace('_', ', '), 'Blanch', 'strongest peer', 'ratio',
                                             'start, ms', 'which it is'))
    for n in networks:
        mine, best = median(ours[n], peers.key), peers.strongest(n)
        other = median(best[1], peers.key) if best else None
        print('%-28s %14.1f %14s %10s %12.0f  %s' % (n, mine, '%.1f' % other if best else '-',
                                                     '%.3f' % (mine / other) if best else '-',
                                                     ours[n][-1]['startup_ms'], best[0] if best else '-'))
    first = ours[networks[0]][0]
    print('device: %s; batch %d' % (first['device']['name'], first['batch']))


def report_peers(networks, ours, peers):
    if not peers.runs:
        return
    print('\n%-28s %14s %10s  %s' % ('every peer', 'ms', 'ratio', ''))
    for n in networks:
        mine = median(ours[n], peers.key)
        for name, runs in sorted(peers.runs.get(n, {}).items(), key=lambda way: median(way[1], peers.key)):
            ms = median(runs, peers.key)
            print('%-28s %14.1f %10.3f  %s' % (n, ms, mine / ms, name))


def report_memory(networks, ours, peers):
    print('\n%-28s %14s %14s %14s %14s %10s' % ('memory, MiB', 'planned', 'device, peak', 'process, peak',
                                                "strongest's", 'ratio'))
    for n in networks:
        planned, device, process = (max(r[k] for r in ours[n]) / 2 ** 20
                                    for k in ('planned_bytes', 'device_bytes', 'host_bytes'))
        best = peers.strongest(n)
        card = bool(best) and 'peak_device_mb' in best[1][0]
        peer = max(r['peak_device_mb' if card else 'peak_rss_mb'] for r in best[1]) if best else None
        print('%-28s %14.1f %14.1f %14.1f %14s %10s' % (n, planned, device, process, peer or '-', '%.2f' % (
            (device if card else process) / peer) if peer else '-'))
    print('the peaks of a process are of its resident memory; on a CPU the device\'s memory is part of it; a peer on a '
          'card\nhas the peak of its tensors, beside Blanch\'s of the device')


def limits_of(run):
    """{} where one of the two could not be measured."""
    limits = run.get('limits') or {}
    return limits if {'operations_per_s', 'bytes_per_s'} <= set(limits) else {}


def work_of(run):
    """Operations as the direct method has them, those of the engines' products, bytes, and the least seconds at the
    limits."""
    limits, sums = limits_of(run), [0.0, 0.0, 0.0, 0.0]
    for layer in run['layers']:
        engines = run['engines'].get(layer['name'], {})
        for phase, work in layer['work'].items():
            direct, moved = work.get('operations', 0), work.get('bytes', 0)
            executed = direct / SAVED.get(engines.get(phase), 1)
            least = max(executed / limits['operations_per_s'], moved / limits['bytes_per_s']) if limits else 0
            sums = [s + x for s, x in zip(sums, (direct, executed, moved, least))]
    return sums


def report_work(networks, ours):
    print('\n%-24s %12s %14s %10s %13s %13s %13s' % ('work of a step', 'direct, Gop', 'executed, Gop', 'moved, GB',
                                                     '% of arith.', '% of bandw.', '% of limits'))
    for n in networks:
        run = min(ours[n], key=lambda r: r['step_ms'])
        limits, seconds = limits_of(run), run['step_ms'] / 1e3
        direct, executed, moved, least = work_of(run)
        shares = [executed / limits['operations_per_s'], moved / limits['bytes_per_s'], least] if limits else []
        print('%-24s %12.1f %14.1f %10.2f' % (n, direct / 1e9, executed / 1e9, moved / 1e9) +
              ''.join(' %13.1f' % (100 * s / seconds) for s in shares))
    print('direct: with every convolution as the plain sum over its taps; executed: with the multiplications that\n'
          'Winograd leaves over, transforms and padding apart; % of limits: the time that every layer\'s phase would\n'
          'take at the arithmetic or the bandwidth limit, whichever is longer, as a share of the step. Measured '
          'limits: ' +
          ', '.join(sorted({'%.0f GFLOP/s and %.1f GB/s' % (r['limits']['operations_per_s'] / 1e9,
                                                            r['limits']['bytes_per_s'] / 1e9)
                            for runs in ours.values() for r in runs if limits_of(r)}) or ['unknown']))


# --- a product ----------------------------------------------------------------------------------

def products(options, pythons):
    size, ways, device = str(options.gemm), {}, ''
    for turn in range(options.rounds):
        for python in pythons:
            way = run_json([python, '-c', TORCH_MM, size, str(options.steps), threads()])
            ways.setdefault(way['name'], []).append(way)
        where = ['--device', options.device] if options.device else []
        run = run_json([options.blanch, 'bench', '--gemm', size, '--steps', str(options.steps), '--json', *where])
        device = run['device']['name']
        for way in run['ways']:
            ways.setdefault(way['name'], []).append(way)
        print('round %d of %d' % (turn + 1, options.rounds), file=sys.stderr)
    speed = {name: [2e-6 * options.gemm ** 3 / statistics.median(r[key] for r in runs) for key in ('ms', 'cpu_ms')]
             for name, runs in ways.items()}
    fastest = max((n for n in speed if n.startswith('torch')), key=lambda n: speed[n][0], default=None)
    print('%-22s %10s %20s %14s %18s' % ('%s x %s x %s' % (size, size, size), 'GFLOP/s', 'of processor time',
                                         'of torch.mm', 'of CLBlast shipped'))
    for name, (wall, used) in speed.items():
        ratios = [wall / speed[peer][0] if peer in speed else None for peer in (fastest, 'CLBlast, shipped')]
        print('%-22s %10.1f %20.1f %14s %18s' % (name, wall, used, *('%.2f' % r if r else '-' for r in ratios)))
    print('device: %s; medians; the ratios are of wall times' % device)


# --- growing work -------------------------------------------------------------------------------

def grow(options):
    batches = [int(b) for b in options.batches.split(',')]
    whole, one = options.device or '0:0', (options.device or '0:0') + '/1'
    times = {(b, d): [] for b in batches for d in (one, whole)}
    for turn in range(options.rounds):
        for batch in batches if turn % 2 == 0 else batches[::-1]:
            for device in (one, whole) if turn % 2 == 0 else (whole, one):
                times[batch, device].append(blanch(options, options.grow, batch, device)['step_ms'])
                print('round %d of %d: batch %d on %s' % (turn + 1, options.rounds, batch, device), file=sys.stderr)
    print('%-10s %16s %16s %18s %18s %12s' % ('batch', 'one core, ms', 'all cores, ms', 'one, ms an image',
                                              'all, ms an image', 'one / all'))
    for batch in batches:
        single, every = (statistics.median(times[batch, d]) for d in (one, whole))
        print('%-10d %16.1f %16.1f %18.3f %18.3f %12.2f' % (batch, single, every, single / batch, every / batch,
                                                            single / every))
    print('%s on the devices %s and %s' % (options.grow, one, whole))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('blanch')
    parser.add_argument('--networks', help='(vgg16-bn,vgg16-nd; resnet50-imagenet and mobilenetv2-imagenet)')
    parser.add_argument('--batch', type=int, help='(128; of inference 1)')
    parser.add_argument('--steps', type=int, help='of a network (3), calls of a product or passes (20)')
    parser.add_argument('--rounds', type=int, default=2)
    parser.add_argument('--python', default='/usr/bin/python3', help='interpreters that have PyTorch: A,B')
    parser.add_argument('--modes', help='of plain,channels_last,compile,onnxruntime,openvino (all that suit)')
    parser.add_argument('--inference', action='store_true')
    parser.add_argument('--device', help='as `blanch devices` lists it')
    parser.add_argument('--precision', choices=('fp32', 'fp16', 'bf16'), help="Blanch's activations (fp32)")
    parser.add_argument('--peer-device', default='cpu', choices=('cpu', 'cuda', 'xpu'), help="PyTorch's (%(default)s)")
    parser.add_argument('--autocast', choices=('fp16', 'bf16'), help="PyTorch's (none)")
    parser.add_argument('--json', metavar='FILE', help='for all runs')
    parser.add_argument('--traces', metavar='DIR', help='for traces of recorded steps')
    parser.add_argument('--gemm', type=int, metavar='SIZE')
    parser.add_argument('--grow', metavar='NETWORK')
    parser.add_argument('--batches', default='16,32,64,128,256')
    options = parser.parse_args()
    infer = options.inference
    if options.gemm and (options.peer_device != 'cpu' or options.json):
        parser.error('--gemm is of torch.mm on the CPU, as a table')
    if options.grow and (options.peer_device != 'cpu' or options.json):
        parser.error('--grow is of Blanch alone, as a table')
    folder = os.path.dirname(options.json or '') or '.'
    if options.json and (os.path.isdir(options.json) or not os.path.isdir(folder) or not os.access(folder, os.W_OK)):
        parser.error('--json %s cannot be written' % options.json)
    options.steps = options.steps or (20 if options.gemm or infer else 3)
    options.batch = options.batch or (1 if infer else 128)
    options.modes = options.modes or 'plain,channels_last,compile' + (',onnxruntime,openvino' if infer else '')
    options.networks = options.networks or (','.join(m + n for m in ('resnet50-imagenet', 'mobilenetv2-imagenet')
                                                     for n in ('-bn', '-nd')) if infer else 'vgg16-bn,vgg16-nd')
    if options.grow:
        return grow(options)
    pythons = [python for python in options.python.split(',') if has_torch(python)]
    return products(options, pythons) if options.gemm else compare(options, pythons)


if __name__ == '__main__':
    main()
