#!/usr/bin/env python3
"""What Blanch asks of a GPU, without one.

  record.py capture DEVICE[,DEVICE...] DIR ARGUMENT...
      runs `blanch ARGUMENT...` on devices that compute nothing and keeps in DIR every program with its options, every
      launch, transfer, buffer and wait. Of `bench` also the trace of a recorded step, which check, steps and launches
      need; it is checked at once.
  record.py check DIR...
      every launch of the recorded step is in the ledger and has its layer, phase, operations and bytes
  record.py steps DIR...
      a row per capture: launches, copies, buffers made, transfers and waits of a step
  record.py captures DIR [DEVICE...]
      what captures.txt lists and DIR does not have yet, a folder each; of these devices alone, where any are named
  record.py launches DIR [--by layer,phase,kernel]
      sizes of a step's launches, lanes in use, and what does not fill the device
  record.py model DIR [--by layer,phase,kernel]
      a modelled time of the step, and how much of it launches take that do not fill the device

DEVICE is a file or the name of one in devices/, without `.txt`. Environment: BLANCH (build/blanch), RECORDER (beside
it: tests/gpu/recorder.so)."""
import argparse
import collections
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
WAVES = 4  # of each SIMD, below which a device cannot hide what its memory takes

# By the device's name: operations and bytes a second that a good kernel could have, compute units as the peak counts
# them, seconds between two commands. A unit reaches its peak with RESIDENT items, of GROUPS groups at most.
MODEL = {'NVIDIA H100 80GB HBM3': {'peak': 60e12, 'bandwidth': 0.8 * 3.35e12, 'units': 132, 'gap': 4e-6},
         'gfx1100': {'peak': 30.7e12, 'bandwidth': 0.8 * 0.96e12, 'units': 96, 'gap': 7e-6}}
RESIDENT, GROUPS = 512, 8
# Of the peak, what tiles reach, by their items along the results (COLS of a program); others: 0.08.
EFFICIENCY = {'16': 0.45, '8': 0.30, '4': 0.10}
# A kernel that computes otherwise than the definition, whose operations the ledger has: its operations in those, and
# what its tiles reach. `winograd` multiplies 16 times for 36. Its transforms add 32 times for each tile, channel and
# block of 32 outputs and 24 times for each tile and output, where it multiplies and adds 16 times for each tile,
# channel and output: from 40 channels on a tenth more at most. Its items hold 64 sums, those of the best tiles 32.
OTHERWISE = {'winograd': (16 / 36 * 1.1, 0.45)}


class Failed(Exception):
    """One line for the user."""


# --- captures -----------------------------------------------------------------------------------


def device_file(name):
    file = name if os.path.exists(name) else os.path.join(HERE, 'devices', name + '.txt')
    if not os.path.exists(file):
        raise Failed('no device %s: a file, or one of %s' % (name, ', '.join(sorted(
            file[:-4] for file in os.listdir(os.path.join(HERE, 'devices'))))))
    return os.path.abspath(file)


def described(name):
    """What a description says: its lines `name = value`, the last of a name."""
    with open(device_file(name)) as file:
        return dict([part.strip() for part in line.split('=', 1)] for line in file if '=' in line)


def environment(devices, folder, recorder):
    """Of a process that finds the recorder as its only OpenCL driver; DIR/drivers has the file that names it."""
    drivers, files = os.path.join(folder, 'drivers'), ','.join(device_file(name) for name in devices.split(','))
    os.makedirs(drivers, exist_ok=True)
    with open(os.path.join(drivers, 'recorder.icd'), 'w') as file:
        file.write(os.path.abspath(recorder) + '\n')
    return dict(os.environ, OCL_ICD_VENDORS=drivers, RECORDER_DEVICES=files, RECORDER_FOLDER=folder, BLANCH_TUNE='0',
                XDG_CACHE_HOME=os.path.join(folder, 'cache'))


def run(devices, folder, blanch, recorder, arguments, **more):
    """Blanch on these devices; the log and, of `bench`, trace.json come into the folder in place of older ones."""
    folder = os.path.abspath(folder)
    os.makedirs(folder, exist_ok=True)
    trace = os.path.join(folder, 'trace.json')
    for old in os.listdir(folder):
        if old.endswith('.cl') or old in ('log.jsonl', 'trace.json'):
            os.remove(os.path.join(folder, old))
    if arguments[:1] == ['bench'] and '--gemm' not in arguments:
        arguments = [*arguments, '--trace', trace]
    return subprocess.run([blanch, *arguments], env=environment(devices, folder, recorder), **more)


def read_log(folder):
    try:
        with open(os.path.join(folder, 'log.jsonl')) as file:
            return [json.loads(line) for line in file]
    except FileNotFoundError:
        raise Failed('%s: no log.jsonl: it is made by `record.py capture`' % folder) from None


def read_trace(folder):
    """The ledger's commands of a step, in order."""
    try:
        with open(os.path.join(folder, 'trace.json')) as file:
            events = json.load(file)['traceEvents']
    except FileNotFoundError:
        raise Failed('%s: no trace.json: capture `bench`, which writes one' % folder) from None
    return [event for event in events if event.get('cat') in ('kernel', 'library')]


# --- a step -------------------------------------------------------------------------------------


class Command:
    """A command of the ledger with the device's records of it: one, or all that a library made of it."""

    def __init__(self, event, records):
        self.name, self.library, self.records = event['name'], event['cat'] == 'library', records
        args = event.get('args', {})
        self.layer, self.phase = args.get('layer'), args.get('phase')
        self.operations, self.bytes = args.get('operations'), args.get('bytes')

    def launches(self):
        return [record for record in self.records if record['op'] == 'launch']

    def lacks(self):
        """What the ledger does not say of it. Operations may be 0, but stated; what nobody tags is (step), other."""
        missing = [what for what in ('layer', 'phase', 'operations', 'bytes') if getattr(self, what) is None]
        if self.bytes == 0:
            missing.append('bytes')
        if (self.layer, self.phase) == ('(step)', 'other'):
            missing.append('phase')
        return missing


def timed_runs(log):
    """Where Blanch took a recorded step's times: lists of (place in the log, command), one after another."""
    runs, markers = [[]], {line['command'] for line in log if line['op'] == 'marker'}
    for place, line in enumerate(log):
        if line['op'] != 'timed':
            if runs[-1]:
                runs.append([])
        elif line['command'] not in markers:
            runs[-1].append((place, line['command']))
    return [run for run in runs if len(run) > 1]  # one alone reads the clock


def name_of(record):
    return record['kernel'] if record['op'] == 'launch' else record['op']


def matches(event, record):
    if event['cat'] == 'library':
        return record['op'] == 'launch'
    same = event['name'] == name_of(record)
    return same and (record['op'] == 'launch' or event['args'].get('bytes') == record['bytes'])


def step_of(log, events):
    """(the log's lines of the step, its Commands). What does not fit together fails."""
    at = {line['command']: place for place, line in enumerate(log) if 'command' in line and line['op'] != 'timed'}
    runs = timed_runs(log)
    if not runs:
        raise Failed('no recorded step in the log')
    timed = [command for _, command in runs[-1]]
    if len(timed) != len(events):
        raise Failed('the ledger has %d commands of the step, the device %d' % (len(events), len(timed)))
    commands, place = [], at[timed[0]] - 1
    for number, (event, command) in enumerate(zip(events, timed)):
        between = [line for line in log[place + 1:at[command]]
                   if 'command' in line and line['op'] not in ('marker', 'map', 'unmap')]
        place = at[command]
        if not matches(event, log[place]):
            raise Failed('command %d of the step: %s in the ledger, %s on the device' % (number, event['name'],
                                                                                          name_of(log[place])))
        if between and event['cat'] != 'library':
            raise Failed('command %d of the step: %s before %s is not in the ledger' % (number, name_of(between[0]),
                                                                                        event['name']))
        commands.append(Command(event, [*between, log[place]]))
    for line in log[place + 1:runs[-1][0][0]]:
        if line['op'] == 'launch':
            raise Failed("behind the step's last command: %s is not in the ledger" % line['kernel'])
    return log[at[timed[0]]:place + 1], commands


def checked_step(folder):
    """As step_of, of a folder, where every launch has its data and OpenCL refused nothing."""
    log = read_log(folder)
    try:
        for line in log:
            if line['op'] == 'error':
                raise Failed('OpenCL refuses: %s (%d)' % (line['what'], line['code']))
        lines, commands = step_of(log, read_trace(folder))
        for number, command in enumerate(commands):
            if command.lacks():
                raise Failed('command %d of the step, %s of %s in phase %s, has no %s in the ledger' % (
                    number, command.name, command.layer, command.phase, ' and no '.join(command.lacks())))
    except Failed as failed:
        raise Failed('%s: %s' % (folder, failed)) from None
    return log, lines, commands


# --- tables -------------------------------------------------------------------------------------


def product(sizes):
    return sizes[0] * sizes[1] * sizes[2]


def table(head, rows):
    """Text to the left, numbers to the right."""
    cells = [head, *rows]
    widths = [max(len(str(row[i])) for row in cells) for i in range(len(head))]
    for row in cells:
        print('  '.join(str(cell).ljust(width) if isinstance(rows[0][i], str) else str(cell).rjust(width)
                        for i, (cell, width) in enumerate(zip(row, widths))).rstrip())


def waits(lines):
    """The host's: for the queue, for events, for a transfer."""
    return sum(line['op'] in ('finish', 'wait') or bool(line.get('blocking')) for line in lines)


def steps(folders):
    rows = []
    for folder in folders:
        _, lines, _ = checked_step(folder)
        count = collections.Counter(line['op'] for line in lines)
        alone = sum(line['op'] == 'launch' and product(line['local']) == 1 for line in lines)
        made = sum(line['bytes'] for line in lines if line['op'] == 'buffer')
        rows.append([os.path.basename(os.path.normpath(folder)), count['launch'], alone, count['copy'], count['fill'],
                     count['buffer'], Fixed(made / 1e6), count['write'], count['read'], waits(lines), count['flush']])
    table(['capture', 'launches', 'of 1 item', 'copies', 'fills', 'buffers', 'MB', 'writes', 'reads', 'waits',
           'flushes'], rows)


class Fixed(float):
    def __new__(cls, value, digits=1):
        self = super().__new__(cls, value)
        self.digits = digits
        return self

    def __str__(self):
        return '%.*f' % (self.digits, self)


class Row:
    """Launches that are alike. What a library's command counts stands with the last of its launches."""

    def __init__(self):
        self.groups, self.lanes, self.starved, self.operations, self.bytes = [], [], 0, 0, 0
        self.sizes = collections.Counter()

    def add(self, command, launch, wave, full):
        size = product(launch['local'])
        groups, waves = product(launch['global']) // size, -(-size // wave)
        self.groups.append(groups)
        self.lanes.append(size / (waves * wave))
        self.sizes['x'.join(map(str, launch['local']))] += 1
        self.starved += groups * waves < full
        if launch is command.records[-1]:
            self.operations += command.operations
            self.bytes += command.bytes

    def cells(self):
        (most, _), least, last = self.sizes.most_common(1)[0], min(self.groups), max(self.groups)
        return [len(self.groups), most + (', ...' if len(self.sizes) > 1 else ''),
                '%d' % least if least == last else '%d..%d' % (least, last),
                '%.0f %%' % (100 * sum(self.lanes) / len(self.lanes)), self.starved, Fixed(self.operations / 1e6),
                Fixed(self.bytes / 1e6)]


def launches(folder, by):
    log, _, commands = checked_step(folder)
    devices = {line['device']: line for line in log if line['op'] == 'device'}
    rows = collections.OrderedDict()
    for command in commands:
        for launch in command.launches():
            device = devices[launch['device']]
            kernel = '%s: %s' % (command.name, launch['kernel']) if command.library else launch['kernel']
            key = tuple({'layer': command.layer, 'phase': command.phase, 'kernel': kernel}[part] for part in by)
            rows.setdefault(key, Row()).add(command, launch, int(device['wave']), WAVES * int(device['simds']))
    for device in devices.values():
        print('%s: waves of %s, %s SIMDs, full at %d waves' % (device['name'], device['wave'], device['simds'],
                                                              WAVES * int(device['simds'])))
    table([*by, 'launches', 'group', 'groups', 'lanes used', 'not full', 'Mop', 'MB'],
          [[*key, *row.cells()] for key, row in rows.items()])
    print('%d launches, %d of them do not fill the device' % (sum(len(row.groups) for row in rows.values()),
                                                              sum(row.starved for row in rows.values())))


class Modelled:
    """Launches that are alike: a model of their time. A launch takes as long as its bytes or its operations do, these
    at what its tiles reach and its groups can use of the peak, and what lies between two launches."""

    def __init__(self):
        self.count, self.seconds, self.starved, self.by_operations = 0, 0, 0, 0

    def add(self, command, launch, device, options):
        model, size = MODEL[device['name']], product(launch['local'])
        reached = next((EFFICIENCY[word[7:]] for word in options.split() if word.startswith('-DCOLS=') and
                        word[7:] in EFFICIENCY), 0.08)
        share, reached = OTHERWISE.get(launch['kernel'], (1, reached))
        groups, wave = product(launch['global']) / size, int(device['wave'])
        each = groups / model['units']
        fill = min(1, each) * min(1, min(max(1, each), GROUPS) * size / RESIDENT)
        last = launch is command.records[-1]
        by_operations = share * command.operations / (model['peak'] * reached * fill) if last else 0
        seconds = model['gap'] + max(command.bytes / model['bandwidth'] if last else 0, by_operations)
        self.count += 1
        self.seconds += seconds
        self.by_operations += by_operations
        if groups * -(-size // wave) < WAVES * int(device['simds']):
            self.starved += seconds

    def cells(self):
        return [self.count, Fixed(1e3 * self.seconds, 3), Fixed(1e3 * self.starved, 3),
                Fixed(1e3 * self.by_operations, 3)]


def modelled(folder, by=('phase',)):
    """Rows of launches that are alike in these, and of all."""
    log, _, commands = checked_step(folder)
    devices, rows, total = {line['device']: line for line in log if line['op'] == 'device'}, {}, Modelled()
    options = {line['id']: line['options'] for line in log if line['op'] == 'program'}
    for command in commands:
        for launch in command.launches():
            device = devices[launch['device']]
            if device['name'] not in MODEL:
                raise Failed('%s: no model of %s' % (folder, device['name']))
            key = tuple({'layer': command.layer, 'phase': command.phase, 'kernel': launch['kernel']}[p] for p in by)
            for row in rows.setdefault(key, Modelled()), total:
                row.add(command, launch, device, options[launch['program']])
    return rows, total


def model(folder, by):
    rows, total = modelled(folder, by)
    table([*by, 'launches', 'ms', 'not full', 'by operations'],
          [[*key, *row.cells()] for key, row in sorted(rows.items(), key=lambda item: -item[1].seconds)])
    print('%s: %.1f ms, %.0f %% of it in launches that do not fill the device' % (
        folder, 1e3 * total.seconds, 100 * total.starved / total.seconds))


# --- commands -----------------------------------------------------------------------------------


def report(folder):
    _, _, commands = checked_step(folder)
    print('%s: %d launches in %d commands of a step, each with layer, phase, operations and bytes' % (
        folder, sum(len(command.launches()) for command in commands), len(commands)))


def capture(devices, folder, arguments):
    blanch = os.environ.get('BLANCH', 'build/blanch')
    recorder = os.environ.get('RECORDER', os.path.join(os.path.dirname(blanch), 'tests', 'gpu', 'recorder.so'))
    for file in blanch, recorder:
        if not os.path.exists(file):
            raise Failed('no %s: build first, or set BLANCH and RECORDER' % file)
    code = run(devices, folder, blanch, recorder, arguments).returncode
    if code:
        raise Failed('blanch ended with status %d' % code)
    if arguments[:1] == ['bench']:
        report(folder)


def listed():
    """Lines of captures.txt: (name, device, {variable: value}, arguments)."""
    with open(os.path.join(HERE, 'captures.txt')) as file:
        words = [line.split() for line in file if line.strip() and not line.startswith('#')]
    for name, device, *rest in words:
        variables = [word for word in rest if word.startswith('BLANCH_')]
        yield name, device, dict(word.split('=', 1) for word in variables), [
            'bench', *rest[len(variables):], '--batch', '64', '--steps', '1', '--warmup', '1']


def captures(folder, devices):
    """Those that are not there yet."""
    unknown = set(devices) - {device for _, device, _, _ in listed()}
    if unknown:
        raise Failed('%s: captures.txt lists nothing of it' % ', '.join(sorted(unknown)))
    for name, device, variables, arguments in listed():
        if devices and device not in devices or os.path.exists(os.path.join(folder, name, 'trace.json')):
            continue
        os.environ.update(variables)
        try:
            capture(device, os.path.join(folder, name), arguments)
        except Failed as failed:
            raise Failed('%s: %s' % (name, failed)) from None
        finally:
            for variable in variables:
                del os.environ[variable]


def fields(text):
    names = text.split(',')
    if not set(names) <= {'layer', 'phase', 'kernel'}:
        raise argparse.ArgumentTypeError('of layer, phase and kernel, with commas')
    return names


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='command', required=True,
                                     metavar='capture|captures|check|steps|launches|model')
    capturing = commands.add_parser('capture')
    capturing.add_argument('devices', metavar='DEVICE[,DEVICE...]')
    capturing.add_argument('folder', metavar='DIR')
    capturing.add_argument('arguments', metavar='ARGUMENT', nargs=argparse.REMAINDER)
    for name in 'check', 'steps':
        commands.add_parser(name).add_argument('folders', metavar='DIR', nargs='+')
    for name in 'launches', 'model':
        listing = commands.add_parser(name)
        listing.add_argument('folder', metavar='DIR')
        listing.add_argument('--by', type=fields, default=['layer', 'phase', 'kernel'], metavar='FIELD,...')
    several = commands.add_parser('captures')
    several.add_argument('folder', metavar='DIR')
    several.add_argument('devices', metavar='DEVICE', nargs='*')
    args = parser.parse_args()
    if args.command == 'capture':
        capture(args.devices, args.folder, args.arguments)
    elif args.command == 'captures':
        captures(args.folder, args.devices)
    elif args.command == 'model':
        model(args.folder, args.by)
    elif args.command == 'check':
        for folder in args.folders:
            report(folder)
    elif args.command == 'steps':
        steps(args.folders)
    else:
        launches(args.folder, args.by)


if __name__ == '__main__':
    try:
        main()
    except Failed as failed:
        sys.exit('record.py: %s' % failed)
    except BrokenPipeError:  # the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
