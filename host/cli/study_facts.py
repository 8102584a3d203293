"""Writes the studies' tables as a C table: study_facts.py OUTPUT TABLE1.csv TABLE2.csv."""
import csv
import re
import sys


def number(field):
    return repr(float(field)) if field else 'NAN'


def seconds(field):
    """1d 7h 23m"""
    found = re.fullmatch(r'(\d+)d (\d+)h (\d+)m', field)
    return str(int(found[1]) * 86400 + int(found[2]) * 3600 + int(found[3]) * 60) if found else number(field)


def text(field):
    """A string of C."""
    if not re.fullmatch(r'[\w .+-]*', field, re.ASCII):
        sys.exit('study_facts.py: %r is no name of a dataset, network or norm' % field)
    return '"%s"' % field


def fact(out, dataset, network, norm, *numbers):
    names = tuple(map(text, (dataset, network, norm)))
    out.write('    {%s, %s, %s, %s, %s, %s, %s},\n' % (names + numbers))


output, table1, table2 = sys.argv[1:]
with open(output, 'w') as out, open(table1) as one, open(table2) as two:
    out.write('#include "cli/study.h"\n#include <math.h>\n\nconst struct bl_study_fact bl_study_facts[] = {\n')
    for row in csv.DictReader(one):
        fact(out, row['dataset'], row['architecture'], row['norm'], int(row['epochs']),
             number(row['original_accuracy_pct']), number(row['reproduced_accuracy_pct']),
             seconds(row['reproduced_train_seconds_v100']))
    for row in csv.DictReader(two):
        if row['metric'] == 'top1':
            fact(out, 'imagenet', row['architecture'], row['norm'], '90', number(row['original_pct']),
                 number(row['reproduced_pct']), seconds(row['reproduced_train_time_a100']))
    out.write('    {0}};\n')
