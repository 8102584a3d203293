"""What card.py measured: its files, which may be broken, and the summary of them."""
import datetime
import json
import os
import statistics

# Times as fast as PyTorch: (norm, in 16 bits)
AIMS = {('bn', False): 0.8, ('nd', False): 3, ('bn', True): 0.5}
# What a state has, and what each part in it.
STATE = {'parts': dict, 'device': dict, 'settings': dict, 'blanch': dict, 'host': dict, 'doctor': list, 'wanting': str}
PART = {'calls': int, 'state': str, 'what': str, 'seconds': (int, float), 'peer': dict}


class Failed(Exception):
    """One line for the user."""


def write_json(path, document):
    with open(path + '.part', 'w') as f:
        json.dump(document, f, indent=1)
    os.replace(path + '.part', path)


def read_json(path):
    """None: it is not there, or no JSON."""
    try:
        with open(path) as f:
            return json.load(f)
    except (OSError, ValueError):
        return None


def has_shape(document, kinds):
    return isinstance(document, dict) and all(isinstance(document[key], kind) for key, kind in kinds.items()
                                              if key in document)


def read_state(path):
    """Of the calls before; empty where there were none."""
    if not os.path.lexists(path):
        return {'parts': {}}
    state = read_json(path)
    if not (has_shape(state, STATE) and 'parts' in state and
            all(has_shape(part, PART) and 'calls' in part for part in state['parts'].values())):
        raise Failed('%s is not what card.py writes: take another folder' % path)
    return state


def verdicts_of(card):
    """[passed or failed, what] of each case; none where the file is another's or broken."""
    verdicts = read_json(card.path('conformance.json'))
    good = isinstance(verdicts, dict) and all(isinstance(of, list) and len(of) == 2 and
                                              all(isinstance(text, str) for text in of) for of in verdicts.values())
    return verdicts if good else {}


def figures(card, network, precision):
    """Of one network, as far as they were measured: None where the file is wanting or broken."""
    try:
        runs = read_json(card.path('benchmark', '%s-%s.json' % (network, precision)))['networks'][network]
        peers = {name: float(statistics.median(run['step_ms'] for run in of)) for name, of in runs['peers'].items()}
        best = min(peers, key=peers.get, default=None)
        finite = best is None or all(run.get('finite') is not False for run in runs['peers'][best])
        return {'ms': float(statistics.median(run['step_ms'] for run in runs['blanch'])),
                'batch': int(runs['blanch'][0]['batch']), 'peer': best, 'peer_ms': peers.get(best),
                'failed': dict(runs['failed']), 'finite': finite}
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return None


def rows_of(card):
    """Lines of the table of times, and reasons why a peer is not beside one."""
    lines, why = [], []
    for precision in card.given.precisions.split(','):
        for network in card.given.networks.split(','):
            for norm in card.given.norms.split(','):
                name = '%s-%s' % (network, norm)
                row = figures(card, name, precision)
                if not row:
                    continue
                aim = AIMS.get((norm, precision != 'fp32'))
                speed = row['peer_ms'] / row['ms'] if row['peer_ms'] else None
                verdict = '' if not aim or not speed else 'reached' if speed >= aim else 'not reached'
                lines.append('| %s | %s | %d | %.2f | %s | %s | %s | %s | %s |' % (
                    name, precision, row['batch'], row['ms'], '%.2f' % row['peer_ms'] if speed else '-',
                    '%.2f' % speed if speed else '-', aim or '-', verdict, row['peer'] or '-'))
                why += ['%s, %s, %s: %s' % (name, precision, mode, reason) for mode, reason in row['failed'].items()]
                why += ['%s, %s: PyTorch\'s loss was not finite' % (name, precision)] * (not row['finite'])
    return lines, why


def lines_of_peers(card):
    """Each that a figure was measured beside, then why others have none."""
    beside = [part['peer'] for part in card.state['parts'].values() if 'peer' in part] or [card.peer]
    lines = ['PyTorch %s, %s%s, of `%s`%s.' % (
        peer.get('version'), peer.get('device'), ' (%s)' % peer['name'] if peer.get('name') else '', peer['python'],
        '' if peer.get('same', True) else '; **OpenCL\'s device is %s: they may not be the same card**' %
        card.state.get('device', {}).get('name')) for peer in beside if 'python' in peer]
    where = ' beside some' if lines else ''
    lines += ['No PyTorch%s, the times are Blanch\'s alone: %s.' % (where, peer.get('none', 'not looked for'))
              for peer in beside if 'python' not in peer]
    return list(dict.fromkeys(lines))


def summary(card, parts, suite):
    """parts: their names; suite: its table, or empty."""
    state, device = card.state, card.state.get('device', {})
    if 'wanting' in state:
        return '# Nothing is measured\n\n%s\n\nlogs/ may say why.\n' % state['wanting']
    verdicts, peers = verdicts_of(card), lines_of_peers(card)
    failed = ['- %s: %s' % (name, what) for name, (verdict, what) in sorted(verdicts.items()) if verdict == 'failed']
    rows, why = rows_of(card)
    lines = ['# ' + device.get('name', 'no device'), '']
    blanch, host = state.get('blanch', {}), state.get('host', {})
    lines += ['%s, driver %s, %s; Blanch %s, %s; %s, %s cores; %s.' % (
        device.get('platform'), device.get('driver'), device.get('version'), blanch.get('version'),
        blanch.get('commit') or 'no commit', host.get('cpu'), host.get('cores'),
        datetime.datetime.now(datetime.timezone.utc).strftime('%Y-%m-%d, %H:%M UTC')), '', *peers]
    lines += ['', '## Is it right', '']
    lines += ['- %s' % line for line in state.get('doctor', ['doctor told nothing: see its part'])]
    lines += ['- conformance: %d passed, %d failed' % (sum(v[0] == 'passed' for v in verdicts.values()), len(failed))]
    lines += failed + ['', '## Times of a step', '',
                       '| network | precision | batch | Blanch, ms | PyTorch, ms | times as fast | aim | | the peer |',
                       '| --- | --- | ---: | ---: | ---: | ---: | ---: | --- | --- |', *rows, '']
    if any(line.startswith('PyTorch') for line in peers):
        lines += ['PyTorch\'s fastest of the modes %s; in fp32 with TF32 off, else with autocast.' % card.given.modes]
    lines += ['- ' + line for line in why]
    lines += [''] * (lines[-1] != '') + ['## Parts', '', '| part | | seconds | |', '| --- | --- | ---: | --- |']
    for part in parts:
        entry = state['parts'].get(part, {'state': 'not begun', 'seconds': '', 'what': 'no time was left for it'})
        lines.append('| %s | %s | %s | %s |' % (part, entry.get('state', 'begun'), entry.get('seconds', ''),
                                               entry.get('what', '').replace('|', '/')))
    if suite:
        lines += ['', '## Suite', '', suite]
    return '\n'.join(lines) + '\n'
