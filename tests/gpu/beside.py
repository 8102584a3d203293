"""The PyTorch that card.py measures beside."""
import json
import os
import re
import shutil
import subprocess
import sys

WHAT_PYTORCH = '''
import json, torch, numpy
cards = {}
for kind in 'cuda', 'xpu':
    if hasattr(torch, kind) and getattr(torch, kind).is_available():
        about = getattr(torch, kind).get_device_properties(0)
        cards[kind] = [about.name, getattr(about, 'gcnArchName', '')]
print(json.dumps([torch.__version__, cards]))
'''
ARCHITECTURES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'reference', 'architectures')


def output(words, seconds=60, env=None):
    """Exit status and what was printed; None: it cannot be run, or does not end."""
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds, env=env,
                              shell=isinstance(words, str))
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, str(error)
    return done.returncode, done.stdout.decode(errors='replace')


def last_line(text):
    return (text.strip().splitlines() or ['it printed nothing'])[-1][:300]


def same_card(device, names):
    """By OpenCL's name of it, where AMD has the architecture in the place of the name."""
    plain = lambda text: re.sub(r'[^a-z0-9]', '', text.lower().split(':')[0])
    ours = plain(device['name'])
    return any(name and (name in ours or ours in name) for name in map(plain, names))


def find_peer(card):
    """The interpreter whose PyTorch has the card, or why there is none."""
    given, device = card.given, card.state['device']
    pythons = given.python.split(',') if given.python else [sys.executable, shutil.which('python3'), '/usr/bin/python3']
    why = []
    if given.peer_device == 'auto' and device['kind'] == 'CPU':
        card.peer = {'none': 'the device is a CPU, --peer-device cpu times PyTorch there'}
        return
    for python in dict.fromkeys(filter(None, pythons)):
        status, text = output([python, '-c', WHAT_PYTORCH], 30)
        if status != 0:
            why.append('%s: %s' % (python, last_line(text)))
            continue
        version, cards = json.loads(last_line(text))
        same = {kind: same_card(device, names) for kind, names in cards.items()}
        kinds = sorted(cards, key=lambda kind: not same[kind])
        wanted = given.peer_device if given.peer_device != 'auto' else (kinds or [None])[0]
        if wanted == 'cpu' or wanted in cards:
            card.peer = {'python': python, 'device': wanted, 'version': version, 'name': cards.get(wanted, [''])[0],
                         'same': same.get(wanted, device['kind'] == 'CPU')}
            return
        why.append('%s: PyTorch %s has %s' % (python, version, ' and '.join([*cards, 'cpu'])))
    card.peer = {'none': '; '.join(why)}


def peer_of(card, network):
    """For one network, resnet18-nd; there is none of those that the oracle does not have."""
    there = os.path.exists(os.path.join(ARCHITECTURES, network + '.json'))
    return card.peer if there else {'none': 'peers have the networks of tests/reference/architectures'}


def needs_peer(card, network):
    """Where one was found, or asked for."""
    asked = card.given.python not in (None, 'none') or card.given.peer_device != 'auto'
    peer = peer_of(card, network)
    return 'python' in peer or (asked and peer is card.peer)
