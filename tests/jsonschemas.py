"""The schemas of docs/schemas, for the tests in Python. Skip where the package jsonschema is not installed."""
import json
import os
import warnings

import tap

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'docs', 'schemas')


def names():
    return sorted(name.split('.')[0] for name in os.listdir(FOLDER) if name.endswith('.schema.json'))


def schema(name):
    with open(os.path.join(FOLDER, name + '.schema.json'), encoding='utf-8') as f:
        return json.load(f)


def validator(name):
    """One that finds what the schema refers to in the files beside it."""
    try:
        import jsonschema
    except ImportError:
        raise tap.Skip('jsonschema is not installed')
    found = schema(name)
    jsonschema.Draft202012Validator.check_schema(found)
    with warnings.catch_warnings():     # its successor, the package referencing, is not in Debian 12
        warnings.simplefilter('ignore', DeprecationWarning)
        resolver = jsonschema.RefResolver('file://%s/%s.schema.json' % (FOLDER, name), found)
    return jsonschema.Draft202012Validator(found, resolver=resolver)


def problems(name, document):
    """Lines; empty: the document is as the schema says."""
    return ['%s: %s: %s' % (name, '/'.join(map(str, error.absolute_path)), error.message[:200])
            for error in validator(name).iter_errors(document)]
