"""Writes the kernels' files as a C table: embed.py ROOT OUTPUT FILE..."""
import os
import sys

root, output, files = sys.argv[1], sys.argv[2], sys.argv[3:]
with open(output, 'w') as out:
    out.write('#include "cl/kernels.h"\n\nconst struct bl_kernel_source bl_kernel_sources[] = {\n')
    for path in files:
        name = os.path.relpath(path, root)
        with open(path, 'rb') as f:
            text = f.read()
        out.write('    {"%s", (const char[]){' % name + ','.join(str(b) for b in text) + ',0}, %d},\n' % len(text))
    out.write('    {0, 0, 0}};\n')
