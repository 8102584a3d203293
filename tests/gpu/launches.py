#!/usr/bin/env python3
"""What Blanch asks of described devices in a training step: launches.py BLANCH RECORDER [TEST...]. Prints TAP. RECORDER
is the recording device; empty where it could not be built. Nothing is computed and nothing timed: all is exact."""
import collections
import copy
import json
import os
import struct
import sys
import tempfile

sys.path[:0] = [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
import record
import tap
from tap import check

BLANCH, RECORDER = sys.argv[1:3]
HERE = os.path.dirname(os.path.abspath(__file__))
HOME = tempfile.TemporaryDirectory(prefix='blanch-gpu-')
SIZE = ['--batch', '16', '--steps', '1', '--warmup', '1', '--json']
NETWORKS = [('smallcnn', 'bn'), ('smallcnn', 'nd'), ('resnet18', 'nd'), ('mobilenetv2', 'nd')]
NVIDIA, AMD, ARM = 'nvidia-h100', 'amd-7900xtx', 'mali-g610'
made = {}


def blanch(devices, *arguments):
    """The folder of a capture and what was printed; the same one again for the same arguments."""
    key = (devices, *arguments)
    if key not in made:
        folder = os.path.join(HOME.name, str(len(made)))
        done = record.run(devices, folder, BLANCH, RECORDER, list(arguments), capture_output=True, text=True)
        check(done.returncode == 0, '%s on %s: %d: %s' % (' '.join(arguments), devices, done.returncode, done.stderr))
        made[key] = folder, done.stdout
    return made[key]


def bench(device, model='smallcnn', norm='nd', *more):
    return blanch(device, 'bench', '--model', model, '--norm', norm, *SIZE, *more)


def fails(log, events, *words):
    """A step of this log and ledger is refused, with these words."""
    try:
        commands = record.step_of(log, events)[1]
    except record.Failed as failed:
        check(all(word in str(failed) for word in words), 'it says: %s' % failed)
        return
    told = [what for command in commands for what in command.lacks()]
    check(told == list(words), 'it lacks %s' % told)


def smallcnn():
    folder, _ = bench(NVIDIA)
    log, events = record.read_log(folder), record.read_trace(folder)
    return log, copy.deepcopy(events)


def each_network(test):
    for device in NVIDIA, AMD:
        for model, norm in NETWORKS:
            test(device, *bench(device, model, norm))


def test_every_launch_has_its_data():
    def test(device, folder, output):
        _, lines, commands = record.checked_step(folder)
        asked = sum(line['op'] == 'launch' for line in lines)
        check(asked == sum(len(command.launches()) for command in commands) > 50, '%d launches' % asked)
    each_network(test)


def test_the_ledger_sums_the_same():
    def test(device, folder, output):
        _, _, commands = record.checked_step(folder)
        total = json.loads(output)['work_all']
        for name, value in ('launches', len(commands)), ('bytes', sum(c.bytes for c in commands)), (
                'operations', sum(c.operations for c in commands)):
            check(abs(total[name] - value) <= 1e-6 * value, '%s: %s and %s' % (name, total[name], value))
    each_network(test)


def test_programs_are_kept():
    def test(device, folder, output):
        log = record.read_log(folder)
        programs = {line['id']: line for line in log if line['op'] == 'program'}
        for line in log:
            if line['op'] != 'launch':
                continue
            program = programs[line['program']]
            with open(os.path.join(folder, program['file'])) as source:
                check('kernel' in source.read() and isinstance(program['options'], str), program['file'])
    each_network(test)


def test_products_of_clblast_have_their_kernels():
    os.environ['BLANCH_GEMM'] = 'clblast'
    try:
        _, _, commands = record.checked_step(bench(AMD, 'resnet18', 'nd', '--seed', '1')[0])
    finally:
        del os.environ['BLANCH_GEMM']
    products = [command for command in commands if command.name == 'clblast_gemm']
    check(products and all(command.library and command.operations > 0 for command in products), 'operations')
    check(any(len(command.launches()) > 1 for command in products), 'one of several kernels')


def test_products_are_one_launch_each():
    """Two pairs and what is added to them, all matrices of a layer at once; no buffer is made, nothing copied."""
    for device in NVIDIA, AMD:
        _, lines, commands = record.checked_step(bench(device, 'resnet18', 'nd')[0])
        check(not any(command.library for command in commands), 'CLBlast computes a product')
        check(not any(line['op'] in ('buffer', 'copy') for line in lines), 'a buffer or a copy')
        layers = {command.layer for command in commands if command.phase == 'inverse_sqrt'}
        for phase, most in ('inverse_sqrt', 6), ('whiten_backward', 8):
            for layer in layers:
                count = sum(command.name == 'product' for command in commands if
                            (command.layer, command.phase) == (layer, phase))
                check(count <= most, '%s, %s: %d products' % (layer, phase, count))


def test_launches_of_a_step():
    """Of resnet18, 20 convolutions with their norms: no more than these, and no group of one item."""
    for device in NVIDIA, AMD, ARM:
        for norm, most in ('bn', 200), ('nd', 545):
            _, lines, commands = record.checked_step(bench(device, 'resnet18', norm)[0])
            sizes = [record.product(line['local']) for line in lines if line['op'] == 'launch']
            check(len(sizes) <= most, '%s on %s: %d launches' % (norm, device, len(sizes)))
            check(min(sizes) > 1, '%s on %s: %d groups of one item' % (norm, device, sizes.count(1)))


def test_launches_fill_the_card():
    """Those that do not take at most a tenth of the modelled time of a step of resnet18, batch 128."""
    for device in NVIDIA, AMD:
        for norm in 'bn', 'nd':
            folder, _ = blanch(device, 'bench', '--model', 'resnet18', '--norm', norm, '--batch', '128', '--steps', '1',
                               '--warmup', '1', '--json')
            total = record.modelled(folder)[1]
            check(0 < total.starved < 0.1 * total.seconds, '%s on %s: %.3f of %.3f ms' % (
                norm, device, 1e3 * total.starved, 1e3 * total.seconds))


def test_a_step_in_sixteen_bits_has_its_data():
    for device, precision in (NVIDIA, 'fp16'), (AMD, 'bf16'):
        record.checked_step(bench(device, 'smallcnn', 'nd', '--precision', precision)[0])


def train(device, *more):
    """The log of a run of 12 steps of 16 images, and what it says of each launch's queue: whether times are kept."""
    out = os.path.join(HOME.name, 'run-%d' % len(made))
    folder, _ = blanch(device, 'train', '--model', 'smallcnn', '--norm', 'bn', '--data', 'synthetic:3x32x32:10',
                       '--out', out, '--batch', '16', '--steps', '12', '--no-tune', *more)
    log = record.read_log(folder)
    check(not any(line['op'] == 'error' for line in log), 'OpenCL refuses a call')
    return log, {line['queue'] for line in log if line['op'] == 'queue' and line['times']}


def losses(log, images=16):
    """Where the losses of steps are read."""
    return [place for place, line in enumerate(log) if line['op'] == 'read' and line['bytes'] == 12 * images]


def test_a_step_waits_once():
    """For its losses, and with them for what it has read of the host's memory."""
    for device in NVIDIA, AMD:
        for norm in 'bn', 'nd':
            _, lines, _ = record.checked_step(bench(device, 'resnet18', norm)[0])
            check(record.waits(lines) == 1, '%d waits' % record.waits(lines))


def test_a_step_is_begun_before_the_one_before_it_has_ended():
    """Between two reads of losses there is one wait, for the earlier ones. Behind the third step, which is recorded."""
    for device in NVIDIA, 'intel-irisxe':
        log, _ = train(device)
        places = losses(log)[3:12]
        check(len(places) == 9, '%d steps' % len(places))
        for before, place in zip(places, places[1:]):
            between = log[before + 1:place]
            launched = sum(line['op'] == 'launch' for line in between)
            check(launched > 30 and record.waits(between) <= 1, '%d waits' % record.waits(between))
        for number, place in enumerate(places[1:-1], 1):
            wait = next(line for line in log[place:] if line['op'] == 'wait')
            check(wait['first'] == log[places[number - 1]]['command'], 'a step is waited for at once')


def test_clipping_waits_for_nothing():
    """Beyond the wait for earlier losses; nor does it make a buffer in a step, or read one."""
    log, _ = train(NVIDIA, '--clip-grad-norm', '1')
    places = losses(log)[4:12]
    for before, place in zip(places, places[1:]):
        between = log[before + 1:place]
        names = [line['kernel'] for line in between if line['op'] == 'launch']
        check(names.count('clip_factor') == 1 and 'squares' in names and 'scale' in names, 'clipping: %s' % names)
        check(record.waits(between) <= 1, '%d waits' % record.waits(between))
        check(not any(line['op'] in ('buffer', 'read') for line in between), 'a buffer or a read')


def test_uploads_go_beside_a_step():
    """On a queue of their own, once the copy of those before has ended; the step begins with a copy that waits for
    them."""
    log, _ = train(NVIDIA)
    places = losses(log)
    for before, place in zip(places[4:], places[5:11]):
        step = log[before:place]
        writes, copies = ([line for line in step if line['op'] == op] for op in ('write', 'copy'))
        queue = next(line['queue'] for line in step if line['op'] == 'launch')
        check(len(writes) == len(copies) == 2, '%d writes, %d copies' % (len(writes), len(copies)))
        check(all(line['queue'] != queue and not line['blocking'] for line in writes), 'writes')
        check(all(line['queue'] == queue for line in copies), 'copies')
        check(copies[0]['waits'] == writes[-1]['command'], 'a copy that waits for no write')
        former = [line['command'] for line in log[:before] if line['op'] == 'copy']
        check(all(line['waits'] == former[-1] for line in writes), 'a write that waits for no copy')


def test_a_batch_in_shared_memory_is_not_copied():
    """Images and labels change hands: the device's before the first launch, the host's behind the last that reads them,
    but the losses are read behind that, so nobody waits for it. Recorded steps too; the device and the loader, which
    makes batches ahead, never have the same memory."""
    batch = [4 * 16, 4 * 16 * 3 * 28 * 28]
    for device in 'intel-irisxe', 'mali-g610':
        log, _ = train(device)
        places = losses(log)
        for before, place in zip(places, places[1:11]):
            step = log[before + 1:place]
            what = [line['op'] for line in step]
            moved = [line for line in step if line['op'] in ('write', 'copy') and line['bytes'] >= min(batch)]
            check(not moved and 'buffer' not in what, str(moved))
            for hands in 'unmap', 'map':
                sizes = sorted(line['bytes'] for line in step if line['op'] == hands)
                check(sizes == batch, '%s: %s' % (hands, sizes))
            given, back = what.index('unmap'), what.index('map')
            check(what[given:back].count('launch') == what[given + 2:].count('launch') > 30, 'when it changes hands')
            check(not any(line['blocking'] for line in step if line['op'] == 'map'), 'a map that is waited for')
        lent = [line['id'] for line in log if line['op'] == 'unmap' and line['bytes'] == batch[1]]
        check(len(set(lent[2:6])) == 4, 'memory that comes round early: %s' % lent)


def test_times_are_kept_of_recorded_steps_alone():
    log, timing = train(NVIDIA)
    asked = {line['command'] for line in log if line['op'] == 'timed'}
    launches = [line for line in log if line['op'] == 'launch']
    timed = [line for line in launches if line['queue'] in timing]
    check(0 < len(timed) < len(launches) / 2, '%d of %d launches' % (len(timed), len(launches)))
    check({line['command'] for line in timed} == asked & {line['command'] for line in launches}, 'others')


def test_no_more_than_two_steps_are_enqueued():
    """With gradients of several batches, a step's are read one after another, and waited for together."""
    log, _ = train(NVIDIA, '--accumulate', '3')
    places, under_way = set(losses(log)), 0
    for place, line in enumerate(log):
        if place in places:
            under_way += 1
        elif line['op'] in ('wait', 'finish'):
            under_way = min(under_way, 3)
        check(under_way <= 6, '%d batches' % under_way)


def test_sums_have_many_groups():
    """One for each vector of channels, row or feature that is summed; each is a tree over its items."""
    for norm, kernels in ('bn', ['summarise', 'finish']), ('nd', ['mean', 'covariance', 'fold_bias', 'back_finish']):
        _, _, commands = record.checked_step(bench(NVIDIA, 'resnet18', norm)[0])
        for kernel in kernels:
            launches = [launch for command in commands if command.name == kernel for launch in command.launches()
                        if command.phase != 'inverse_sqrt' or kernel != 'finish']
            groups = [record.product(launch['global']) // record.product(launch['local']) for launch in launches]
            check(groups and min(groups) >= 10, '%s: %s groups' % (kernel, groups))


def test_where_clblast_refuses_the_own_kernel_computes():
    folder = os.path.join(HOME.name, 'refuses')
    done = record.run('wg64', folder, BLANCH, RECORDER, ['bench', '--gemm', '1024x1024x1024'], capture_output=True,
                      text=True)
    launched = [line['kernel'] for line in record.read_log(folder) if line['op'] == 'launch']
    check('product' in launched and not any(kernel.startswith('Xgemm') for kernel in launched), str(launched[:9]))
    check('CL_INVALID_WORK_GROUP_SIZE (-54)' in done.stderr, done.stderr)


# Kernels that are written for CPUs: the heads of their files.
FOR_CPUS = ['gemm', 'conv/grouped', 'conv/pointwise', 'conv/winograd', 'nd/gram', 'nd/packed_product',
            'nd/symmetric_product']


def head(text):
    return text.lstrip().split('\n')[0]


def test_nothing_of_a_cpu_is_built_on_a_gpu():
    """By rule or to measure it. What is computed is zeros here, so no candidate is right, and all go by rule."""
    kernels = os.path.join(os.path.dirname(os.path.dirname(HERE)), 'kernels')
    heads = [head(open(os.path.join(kernels, name + '.cl')).read()) for name in FOR_CPUS]
    for captured in bench(AMD, 'resnet18', 'nd'), blanch(AMD, 'tune', '--model', 'smallcnn', '--batch', '16',
                                                         '--seconds', '60'):
        sources = [open(os.path.join(captured[0], line['file'])).read() for line in record.read_log(captured[0])
                   if line['op'] == 'program']
        check(len(sources) > 10, '%d programs' % len(sources))
        for source in sources:
            check(head(source) not in heads, head(source))


def test_what_is_built_of_whitening_is_launched():
    """Kernels of depthwise layers, unrolled over pairs of taps, would not end compiling for the 7x7 taps of resnet18d;
    those between refreshes are for nothing where every step is exact."""
    for model, more in ('resnet18d', []), ('mobilenetv2', []), ('smallcnn', ['--refresh', '2']):
        log = record.read_log(bench(AMD, model, 'nd', *more)[0])
        launched = {line['kernel'] for line in log if line['op'] == 'launch'}
        programs = [line['options'] for line in log if line['op'] == 'program']
        for option, kernel in ('-DKERNELS=1', 'covariance_depthwise'), ('-DKERNELS=2', 'square_samples'):
            built = [options for options in programs if option in options]
            check(bool(built) == (kernel in launched or (bool(more) and '2' in option)), '%s: %s' % (model, built))
            check(not any('-DTAPS_Y=7' in options for options in built), '%s: %s' % (model, built))


def test_a_refused_program_is_built_once():
    """The next process does not measure again what has failed either."""
    folder = os.path.join(HOME.name, 'refused')
    for attempt in 'first', 'second':
        done = record.run('amd-refuse', folder, BLANCH, RECORDER, ['tune', '--model', 'smallcnn', '--batch', '16',
                                                                   '--seconds', '60'], capture_output=True, text=True)
        check(done.returncode == 0, done.stderr)
        log = record.read_log(folder)
        refused = [line['options'] for line in log if line['op'] == 'refused']
        check(len(refused) == len(set(refused)), '%d builds of %d programs' % (len(refused), len(set(refused))))
        check(attempt == 'second' or refused, 'nothing was refused')
        check(attempt == 'first' or '0 measured' in done.stdout, done.stdout)


def test_a_refused_program_says_why():
    device = os.path.join(HOME.name, 'weights.txt')
    with open(record.device_file('amd-refuse')) as other, open(device, 'w') as file:
        file.write(other.read().replace('-DCOLS=16', '-DWEIGHTS=2'))
    done = record.run(device, os.path.join(HOME.name, 'why'), BLANCH, RECORDER,
                      ['bench', '--model', 'smallcnn', '--norm', 'bn', *SIZE], capture_output=True, text=True)
    lines = done.stderr.strip().split('\n')
    check(done.returncode == 3 and len(lines) == 1, done.stderr)
    for words in 'kernels/conv/direct.cl', '-DWEIGHTS=2', 'CL_BUILD_PROGRAM_FAILURE (-11)', 'error: the description':
        check(words in lines[0], '%s: %s' % (words, lines[0]))
    place = lines[0].rsplit('says: ', 1)[1].split(')')[0]
    check('the description refuses' in open(place).read(), place)


def test_winograd_is_one_launch():
    """By rule of every 3x3 layer of stride 1 of resnet18, forwards and backwards, where its groups fill the device.
    Forced, elsewhere than on Intel and where groups or local memory are too small: there each step is one."""
    def launched(device, *more):
        _, _, commands = record.checked_step(blanch(device, 'bench', '--model', 'resnet18', '--norm', 'bn', '--steps',
                                                    '1', '--warmup', '1', '--json', '--batch', *more)[0])
        return collections.Counter((command.name, command.phase) for command in commands)

    for device, layers in (AMD, 13), (NVIDIA, 10), ('intel-a770', 0), ('kernel32', 0):
        names = launched(device, '128')
        for phase in 'forward', 'backward_data':
            check(names['winograd', phase] == layers, '%s: %d of %s' % (device, names['winograd', phase], phase))
        check(names['input', 'forward'] == 0, '%s: three launches by rule' % device)
    os.environ['BLANCH_CONV'] = 'winograd'
    try:
        for device, is_one in (AMD, True), ('intel-a770', False), ('kernel32', False), ('local8k', False):
            names = launched(device, '16', '--seed', '1')
            one, three = names['winograd', 'forward'], names['input', 'forward']
            check((one > 0, three > 0) == (is_one, not is_one), '%s: %d and %d' % (device, one, three))
    finally:
        del os.environ['BLANCH_CONV']


def test_matrix_units_by_what_a_device_says():
    """And where its compiler refuses them after all, the engine is named that runs."""
    half = ['bench', '--model', 'smallcnn', '--norm', 'bn', '--precision', 'fp16', *SIZE]
    os.environ['BLANCH_CONV'] = 'matrix'
    try:
        for device, unit in (NVIDIA, 1), (AMD, 2), ('amd-mi210', 3), ('intel-a770', 4), ('rusticl-7900xtx', 0):
            log = record.read_log(blanch(device, *half)[0])
            units = {word for line in log if line['op'] == 'program' for word in line['options'].split()
                     if word.startswith('-DUNIT=')}
            check(units == {'-DUNIT=%d' % unit}, '%s: %s' % (device, units))
        device = os.path.join(HOME.name, 'units.txt')
        with open(record.device_file(NVIDIA)) as other, open(device, 'w') as file:
            file.write(other.read() + 'refuse = -DUNIT=1\n')
        done = record.run(device, os.path.join(HOME.name, 'units'), BLANCH, RECORDER, half, capture_output=True,
                          text=True)
        check(done.returncode == 3 and 'the engine matrix does not run on' in done.stderr, done.stderr)
    finally:
        del os.environ['BLANCH_CONV']


def test_a_launch_without_its_data_is_found():
    log, events = smallcnn()
    for what in 'layer', 'phase', 'operations', 'bytes':
        for at in 5, len(events) // 2, len(events) - 1:
            lacking = copy.deepcopy(events)
            del lacking[at]['args'][what]
            fails(log, lacking, what)
    events[7]['args']['bytes'] = 0
    fails(log, events, 'bytes')


def test_a_launch_that_nobody_tagged_is_found():
    log, events = smallcnn()
    events[9]['args'].update(layer='(step)', phase='other')
    fails(log, events, 'phase')


def test_a_ledger_of_another_step_is_found():
    log, events = smallcnn()
    at = next(i for i in range(20, len(events)) if events[i]['name'] != events[i + 1]['name'])
    fails(log, events[:-1], 'commands of the step')
    fails(log, events[:at] + [events[at + 1], events[at]] + events[at + 2:], 'command %d' % at, 'in the ledger')
    events[at]['name'] = 'sigmoid_forward'
    events[at]['cat'] = 'kernel'
    fails(log, events, 'command %d' % at, 'sigmoid_forward')


def test_a_launch_outside_the_ledger_is_found():
    """Its time was not taken, and no library's command follows; the last one has none behind it."""
    log, events = smallcnn()
    timed = [line['command'] for line in log if line['op'] == 'timed'][-len(events) - 3:-3]
    for at in next(i for i in range(20, len(events)) if events[i + 1]['cat'] == 'kernel'), len(events) - 1:
        without = [line for line in log if line['op'] != 'timed' or line['command'] != timed[at]]
        fails(without, events[:at] + events[at + 1:], 'is not in the ledger')


def test_small_devices_are_not_asked_too_much():
    """In items of a group, local memory, bytes of a buffer: the recorder refuses what no such device takes."""
    for device, most in ('wg1', 1), ('wg64', 64), ('kernel32', 32):
        for norm in 'bn', 'nd':
            _, lines, _ = record.checked_step(bench(device, 'resnet18', norm)[0])
            largest = max(record.product(line['local']) for line in lines if line['op'] == 'launch')
            check(largest <= most, '%s: groups of %d' % (device, largest))
    for device in 'local8k', 'alloc128m', 'mali-g610', 'intel-irisxe':
        record.checked_step(bench(device, 'smallcnn', 'nd')[0])


def test_two_devices():
    both = NVIDIA + ',' + AMD
    listed = blanch(both, 'devices')[1]
    check('H100' in listed and 'gfx1100' in listed, listed)
    log, lines, _ = record.checked_step(bench(both, 'smallcnn', 'nd', '--device', '1:0')[0])
    check({line['device'] for line in lines if 'device' in line} == {1}, 'the second device alone')


def default_of(devices, *before):
    """The default's name, of these descriptions."""
    output = blanch(devices, 'devices', '--json', *before)[1]
    return next(device['name'] for device in json.loads(output)['devices'] if device['default'])


def test_the_default_has_its_own_memory():
    """An integrated GPU of many units at a low clock is not taken before a card."""
    for pair in ('intel-irisxe', 'nvidia-4060m'), ('intel-irisxe', AMD), ('mali-g610', 'intel-a770'):
        for order in pair, reversed(pair):
            order = list(order)
            expected = record.described(pair[1])['name']
            check(default_of(','.join(order)) == expected, '%s: not %s' % (order, expected))


def test_the_default_has_the_most_lanes():
    for pair in ('nvidia-4060m', AMD), ('intel-a770', NVIDIA):
        check(default_of(','.join(pair)) == record.described(pair[1])['name'], '%s' % (pair,))


def rate_file(device):
    """As host/cl/rank.c names it: 64-bit FNV-1a of what tells devices apart."""
    data = struct.pack('<i', device['compute_units'])
    for key in 'platform', 'name', 'version', 'driver':
        data += device[key].encode() + b'\0'
    key = 0xcbf29ce484222325
    for byte in data:
        key = (key ^ byte) * 0x100000001b3 % 2 ** 64
    return '%016x.rate' % key


def test_a_measured_rate_counts_more():
    """As a `bench` on either leaves it in the cache."""
    pair, folder = 'nvidia-4060m,' + AMD, os.path.join(HOME.name, 'rates')
    limits = os.path.join(folder, 'cache', 'blanch', 'limits')

    def devices():
        done = record.run(pair, folder, BLANCH, RECORDER, ['devices', '--json'], capture_output=True, text=True)
        check(done.returncode == 0, done.stderr)
        return json.loads(done.stdout)['devices']

    os.makedirs(limits, mode=0o700)
    for winner in 'NVIDIA GeForce RTX 4060 Laptop GPU', 'gfx1100':
        for device in devices():
            with open(os.path.join(limits, rate_file(device)), 'w') as file:
                file.write('%s\n%s\n%s\n' % (device['name'], device['driver'],
                                             '2e13' if device['name'] == winner else '1e13'))
        found = [device['name'] for device in devices() if device['default']]
        check(found == [winner], '%s, not %s' % (found, winner))


def test_a_card_under_two_platforms():
    """Its maker's own is taken, which is said."""
    for order in ('rusticl-7900xtx', AMD), (AMD, 'rusticl-7900xtx'):
        devices = ','.join(order)
        check(default_of(devices) == 'gfx1100', devices)
        done = record.run(devices, os.path.join(HOME.name, 'twin'), BLANCH, RECORDER,
                          ['bench', '--model', 'smallcnn', '--norm', 'bn', *SIZE], capture_output=True, text=True)
        check('are one card' in done.stderr and 'AMD Accelerated Parallel Processing' in done.stderr, done.stderr)


def test_the_same_step_every_time():
    """A second capture with a filled cache of programs asks for the same."""
    folder, _ = bench(NVIDIA)
    again = os.path.join(HOME.name, 'again')
    for _ in range(2):
        done = record.run(NVIDIA, again, BLANCH, RECORDER, ['bench', '--model', 'smallcnn', '--norm', 'nd', *SIZE],
                          capture_output=True, text=True)
        check(done.returncode == 0, done.stderr)
    plain = [[{key: line[key] for key in ('op', 'kernel', 'global', 'local', 'args', 'bytes') if key in line}
              for line in record.checked_step(place)[1]] for place in (folder, again)]
    check(plain[0] == plain[1], 'another sequence')


def need_recorder():
    if not RECORDER:
        tap.skip_all('the recording device was not built: it takes Linux, 64 bits and CL/cl_icd.h')
    listed = record.run(NVIDIA, os.path.join(HOME.name, 'need'), BLANCH, RECORDER, ['devices'], capture_output=True,
                        text=True)
    if 'H100' not in listed.stdout:
        tap.skip_all('the OpenCL loader does not take the recording device: it does not read OCL_ICD_VENDORS')


if __name__ == '__main__':
    need_recorder()
    sys.exit(tap.run(tap.functions(globals(), sys.argv[3:])))
