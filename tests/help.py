#!/usr/bin/env python3
"""Help, manual pages and completion: of every subcommand, from its table of options. tests/help.py BLANCH FOLDER, where
FOLDER has what the build made of them."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

import tap
from tap import check

BLANCH, FOLDER = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])


def output(*command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, **options)
    check(not done.returncode and not done.stderr, '%s: %d %s' % (command, done.returncode, done.stderr))
    return done.stdout


def subcommands():
    return re.findall(r'^  (\w+) +\S', output(BLANCH).split('subcommands:')[1].split('`blanch')[0], re.M)


def options_of(name):
    return re.findall(r'^  --([\w-]+)', output(BLANCH, name, '--help').split('\noptions:\n')[1], re.M)


def made(name):
    with open(os.path.join(FOLDER, name), encoding='utf-8') as f:
        return f.read()


def need(program):
    if not shutil.which(program):
        raise tap.Skip(program + ' is not installed')
    return program


def test_overview():
    for words in ((), ('--help',), ('-h',), ('help',)):
        check(output(BLANCH, *words) == output(BLANCH), words)
    check(len(subcommands()) > 10, subcommands())
    check(output(BLANCH, 'help', 'train') == output(BLANCH, 'train', '--help'), 'help train')


def test_pages():
    """Each subcommand has its page, and it names every option."""
    names = subcommands()
    check(sorted(f for f in os.listdir(FOLDER) if f.endswith('.1')) == sorted(
        ['blanch.1'] + ['blanch-%s.1' % name for name in names]), 'packaging/meson.build names other subcommands')
    for name in names:
        page = made('blanch-%s.1' % name)
        check(page == output(BLANCH, name, '--help=man'), name)
        told = [option.replace('\\-', '-') for option in re.findall(r'^\\fB\\-\\-(.*?)\\fR', page, re.M)]
        check(told == options_of(name), '%s: %s' % (name, told))
        check('blanch\\-' + name in made('blanch.1'), name)


def test_pages_format():
    groff = need('groff')
    for name in [''] + ['-' + name for name in subcommands()]:
        text = output(groff, '-man', '-Tutf8', '-ww', os.path.join(FOLDER, 'blanch%s.1' % name))
        check('EXIT STATUS' in re.sub('.\b|\033\\[[0-9;]*m', '', text), name)


def replies(*words):
    """What bash offers for the last word."""
    script = '. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _blanch; printf "%s\\n" "${COMPREPLY[@]}"'
    return output(need('bash'), '-c', script, '-', os.path.join(FOLDER, 'blanch'), 'blanch', *words).split()


def test_bash():
    check(set(replies('')) == set(subcommands()) | {'help', '--help', '--version'}, replies(''))
    check(replies('comp') == ['compare'], replies('comp'))
    for name in subcommands():
        check(sorted(replies(name, '-')) == sorted('--' + option for option in options_of(name)), name)
    check(replies('train', '--norm', '') == ['bn', 'gn', 'ln', 'nd', 'none', 'own'], replies('train', '--norm', ''))
    check(replies('train', '--norm', '=', 'b') == ['bn'], 'after =')
    check('resnet18d' in replies('bench', '--model', 'resnet18'), 'names of networks')
    check(not replies('train', '--out', '--'), 'a file name where an option takes one')
    check(not replies('predict', 'pic'), 'a file name')


def test_zsh():
    output(need('zsh'), '-n', os.path.join(FOLDER, '_blanch'))
    for name in subcommands():
        part = re.search(r'^    %s\)\n(.*?);;' % name, made('_blanch'), re.M | re.S)[1]
        check(re.findall(r"^ +(?:_arguments )?'--([\w-]+)", part, re.M) == ['help'] + options_of(name)[:-1], name)


def test_fish():
    fish = need('fish')
    with tempfile.TemporaryDirectory() as home:
        for name in subcommands():
            told = output(fish, '--no-config', '-c', 'source %s; complete -C "blanch %s --"' % (
                os.path.join(FOLDER, 'blanch.fish'), name), env=dict(os.environ, HOME=home))
            offered = {line.split('\t')[0] for line in told.split('\n')}
            check(offered >= {'--' + option for option in options_of(name)[:-1]}, '%s: %s' % (name, told))


def test_unknown_form():
    for words in (('--help=html',), ('train', '--help=html')):
        done = subprocess.run([BLANCH, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
        check(done.returncode == 2 and "bash, zsh or fish, not 'html'" in done.stderr, done.stderr)


sys.exit(tap.run(tap.functions(globals(), sys.argv[3:])))
