"""What a fit shows: a bar on a terminal, a line an epoch elsewhere."""
from __future__ import annotations

import shutil
import sys
import time
from typing import Any

WIDTH = 24
SECONDS = 0.1       # between two looks of the bar


class Progress:
    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.terminal = not quiet and sys.stdout is not None and sys.stdout.isatty()
        self.shown = 0.0

    def bar(self, going: Any, metrics: Any, rate: float) -> None:
        now = time.monotonic()
        if not self.terminal or now - self.shown < SECONDS:
            return
        self.shown = now
        right = '' if metrics.top1 is None else ' top-1 %.1f %%,' % (100 * metrics.accuracy)
        text = 'epoch %d: loss %.3f,%s %.0f images/s' % (going.epoch, metrics.loss, right, rate)
        if going.steps:
            done = WIDTH * going.step // going.steps
            text = '[%s%s] %d/%d %s' % ('#' * done, '.' * (WIDTH - done), going.step, going.steps, text)
        sys.stdout.write('\r\033[K' + text[:shutil.get_terminal_size().columns - 1])
        sys.stdout.flush()

    def line(self, text: str) -> None:
        if not self.quiet:
            print(('\r\033[K' if self.terminal else '') + text, flush=True)
