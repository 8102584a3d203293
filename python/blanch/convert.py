"""A file of torch.save to safetensors, which Blanch reads: python -m blanch.convert IN.pth OUT.safetensors

Only here is such a file opened, by torch.load(weights_only=True), which runs nothing of it. PyTorch has to be
installed."""
from __future__ import annotations

import json
import os
import re
import struct
import sys
from typing import Any, Mapping

KINDS = {'float64': 'F64', 'float32': 'F32', 'float16': 'F16', 'bfloat16': 'BF16', 'int64': 'I64', 'int32': 'I32',
         'int16': 'I16', 'int8': 'I8', 'uint8': 'U8', 'bool': 'BOOL'}
WITHIN = ('state_dict', 'model_state_dict', 'model', 'net', 'module')     # where trainers put a state dict
BEFORE = ('module.', '_orig_mod.')                                        # of DataParallel, of torch.compile


class Wrong(Exception):
    """What is wrong with the file, as one line."""


def state_dict(loaded: Any) -> dict[str, Any]:
    """Names and tensors of what torch.load gave: a state dict, or a dict that holds one."""
    import torch
    for key in WITHIN:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping) or not loaded or not all(isinstance(t, torch.Tensor) for t in loaded.values()):
        raise Wrong('it holds no state dict, names with tensors')
    named = {str(name): tensor for name, tensor in loaded.items()}
    for start in BEFORE:
        if all(name.startswith(start) for name in named):
            named = {name[len(start):]: tensor for name, tensor in named.items()}
    return named


def encoded(tensors: Mapping[str, Any]) -> tuple[bytes, list[bytes]]:
    """The header of safetensors and the data."""
    import torch
    header: dict[str, Any] = {'__metadata__': {'format': 'pt'}}
    data, at = [], 0
    for name, tensor in sorted(tensors.items(), key=lambda item: -item[1].element_size()):
        kind = KINDS.get(str(tensor.dtype).replace('torch.', ''))
        if not kind:
            raise Wrong('%s is of %s, which safetensors does not have' % (name, tensor.dtype))
        plain = tensor.detach().cpu().contiguous()
        values = plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b''
        header[name] = {'dtype': kind, 'shape': list(plain.shape), 'data_offsets': [at, at + len(values)]}
        data.append(values)
        at += len(values)
    text = json.dumps(header).encode()
    return text + b' ' * (-len(text) % 8), data


def convert(source: str, to: str) -> int:
    """How many tensors were written."""
    import torch
    try:
        loaded = torch.load(source, map_location='cpu', weights_only=True)
    except OSError as error:
        raise Wrong(error.strerror or str(error))
    except Exception as error:      # of pickle, zip and torch alike, with colours
        lines = re.sub('\x1b\\[[0-9;]*m', '', str(error)).strip().splitlines()
        raise Wrong('torch.load(weights_only=True) refuses it: %s' % (lines[0] if lines else type(error).__name__))
    tensors = state_dict(loaded)
    header, data = encoded(tensors)
    part = '%s.%d.tmp' % (to, os.getpid())
    try:
        with open(part, 'wb') as f:
            f.write(struct.pack('<Q', len(header)) + header)
            f.writelines(data)
        os.replace(part, to)
    finally:
        if os.path.exists(part):
            os.remove(part)
    return len(tensors)


def main(arguments: list[str]) -> int:
    if len(arguments) != 2 or arguments[0].startswith('-'):
        print(__doc__.splitlines()[0], file=sys.stderr)
        return 2
    source, to = arguments
    try:
        count = convert(source, to)
    except ImportError:
        print('blanch.convert: PyTorch is not installed: pip install torch', file=sys.stderr)
        return 2
    except OSError as error:
        print('blanch.convert: %s: %s' % (to, error.strerror), file=sys.stderr)
        return 2
    except Wrong as wrong:
        print('blanch.convert: %s: %s' % (source, wrong), file=sys.stderr)
        return 2
    print('%s: %d tensors' % (to, count))
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
