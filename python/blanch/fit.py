"""A training loop, for those who need none of their own."""
from __future__ import annotations

import math
import os
import time
from ctypes import byref, c_float
from typing import Any, Callable, Iterable, Mapping, Optional, Union

from . import structs
from .arrays import images_of, number, text, whole
from .data import Data, Source, held_out
from .errors import DivergedError, UsageError
from .library import plain
from .network import NO_METRICS, Metrics, Network
from .progress import Progress

EVENTS = ('begin', 'step', 'epoch', 'end')
Callbacks = Mapping[str, Union[Callable, Iterable[Callable]]]


class History:
    """What became of a fit, in the words of a run's log.jsonl. steps: a dict each, with step, epoch, loss, lr,
    images_per_s. epochs: train_loss, train_top1, train_top5 (of a network that labels pixels train_pixel_accuracy, of
    one that generates the loss alone), the same of test_ or val_ where images are held out (of pixels mean_iou too),
    and train_s, test_s; accuracies in per cent."""

    def __init__(self) -> None:
        self.steps: list[dict] = []
        self.epochs: list[dict] = []

    def __repr__(self) -> str:
        return '<blanch.History of %d steps, %d epochs>' % (len(self.steps), len(self.epochs))


class Fit:
    """A fit that is going on, as callbacks are given it: network, epoch and epochs, step and steps (None: not known),
    lr, metrics (of the last step), history. stop = True ends it after this step, its epoch with it."""

    def __init__(self, network: Network, epochs: int, steps: Optional[int]) -> None:
        self.network, self.epochs, self.steps = network, epochs, steps
        self.epoch = self.step = 0
        self.lr = math.nan
        self.metrics = NO_METRICS
        self.history = History()
        self.stop = False


def fit(network: Network, data: Any, epochs: int = 1, *, lr: Optional[float] = None,
        schedule: Union[str, Callable[[int], float]] = 'cosine', warmup: int = 0, warmup_epochs: float = 0,
        validation: Any = None, callbacks: Optional[Callbacks] = None, batch: Optional[int] = None,
        shuffle: bool = True, seed: int = 0, augment: Optional[str] = None, normalise: Optional[str] = None,
        auto_augment: Optional[str] = None, random_erase: float = 0, mixup: float = 0, cutmix: float = 0,
        val_split: Optional[str] = None, split_file: Any = None, cache: Any = None, workers: int = 0, begin: int = 0,
        early_stop: int = 0, out: Any = None, save_every: int = 0, keep: int = 0, quiet: bool = False) -> History:
    """Trains for epochs.

    data: a pair (images (N, C, H, W), labels (N,)), or images alone where the network is told no classes; an iterable
    of such batches, gone through once an epoch (a torch DataLoader, say); or a data spec of the command line
    ('folder:DIR'), with its augmentation.
    lr, warmup (steps) or warmup_epochs, schedule: what --schedule takes, or a function of the step, from 0.
    validation: images that are held out, in any form that data has; None: those of a data spec; False: none.
    callbacks: {'begin' | 'step' | 'epoch' | 'end': a function of a `Fit`, or several}.
    batch, shuffle, seed, augment: of pairs and data specs. A batch that is too small for the network's batch norms is
    left out.
    normalise, auto_augment, random_erase, mixup, cutmix, val_split, split_file, cache, workers: of data specs, as the
    options of these names; mixup and cutmix are for a network made with pairs=True. Without normalise images are
    normalised as the network's weights say, if they do (`Network.view`).
    early_stop: ends after so many epochs without a better top-1 (mean IoU, loss), of held out images where there are
    some; 0: never.
    out, save_every, keep: out/epoch-0001.safetensors, the weights after every so many epochs; the last so many of these
    alone (0: all).
    begin: epochs that are made already, where a checkpoint is resumed.
    quiet: neither a bar nor lines.
    Ctrl-C raises KeyboardInterrupt between two steps, and the network stays usable. DivergedError: a loss that is not
    finite; that step updated no parameter.

    >>> import blanch, numpy as np
    >>> network = blanch.Network('smallcnn', batch=8)
    >>> images = np.random.default_rng(0).normal(size=(16, *network.input)).astype(np.float32)
    >>> history = network.fit((images, np.arange(16) % 10), epochs=2, lr=0.01, quiet=True)
    >>> len(history.steps), len(history.epochs)
    (4, 2)
    """
    saved = Saved(out, save_every, keep)
    source = Source(data, network, seed, batch, augment, shuffle,
                    {'val_split': val_split, 'split_file': split_file, 'cache': cache}, normalise=normalise,
                    auto_augment=auto_augment, random_erase=random_erase, mixup=mixup, cutmix=cutmix, workers=workers)
    epochs, begin = whole(epochs, 'epochs', 1), whole(begin, 'begin', 0, epochs)
    going = Fit(network, epochs, None if source.batches is None else source.batches * epochs)
    rate = _rate(network, going, schedule, lr, (warmup, warmup_epochs), source.batches)
    called = _called(callbacks)
    if isinstance(validation, str):
        validation = Data(validation, seed)
    if validation is None and isinstance(source.data, Data) and source.data.judge != 'train':
        validation = source.data
    going.step = begin * (source.batches or 0)
    progress, best, stale = Progress(quiet), -math.inf, 0
    early_stop = whole(early_stop, 'early_stop', 0)
    if source.as_weights_say:
        progress.line('images are normalised as the weights of the network say; normalise=NAME takes others')
    called('begin', going)
    for going.epoch in range(begin + 1, epochs + 1):
        record = _train(going, source, rate, called, progress)
        if validation is not None and validation is not False:
            _validate(going, validation, record)
        going.history.epochs.append(record)
        judged = _judged(record, network)
        best, stale = (judged, 0) if judged > best else (best, stale + 1)
        going.stop |= 0 < early_stop <= stale
        saved.epoch(network, going.epoch)
        progress.line(_told(record))
        called('epoch', going)
        if going.stop:
            break
    called('end', going)
    return going.history


class Saved:
    """The weights of epochs, under the names that a run's directory has."""

    def __init__(self, out: Any, save_every: int, keep: int) -> None:
        self.every, self.keep = whole(save_every, 'save_every', 0), whole(keep, 'keep', 0)
        self.out = '' if out is None else os.fspath(out)
        if self.keep and not self.every:
            raise UsageError('keep is of what save_every saves: give it too')
        if bool(self.every) != bool(self.out):
            raise UsageError('save_every says how often, and out in which folder: give both')
        if self.out:
            os.makedirs(self.out, exist_ok=True)

    def _path(self, epoch: int) -> str:
        return os.path.join(self.out, 'epoch-%04d.safetensors' % epoch)

    def epoch(self, network: Network, number: int) -> None:
        if not self.every or number % self.every:
            return
        network.save(self._path(number))
        gone = number - self.keep * self.every
        while self.keep and gone > 0 and os.path.exists(self._path(gone)):
            os.remove(self._path(gone))
            gone -= self.every


def _called(callbacks: Optional[Callbacks]) -> Callable[[str, Fit], None]:
    lists: dict[str, list[Callable]] = {event: [] for event in EVENTS}
    for event, functions in (callbacks or {}).items():
        if event not in lists:
            raise UsageError('there is no event %r: there are %s' % (event, ', '.join(EVENTS)))
        lists[event] = [functions] if callable(functions) else list(functions)

    def called(event: str, going: Fit) -> None:
        for function in lists[event]:
            function(going)
    return called


def _rate(network: Network, going: Fit, schedule: Any, lr: Optional[float], warmup: tuple[int, float],
          batches: Optional[int]) -> Callable[[int], float]:
    """The learning rate of a step."""
    if callable(schedule):
        if lr is not None or any(warmup):
            raise UsageError('a schedule that is a function says the rate: leave lr and warmup out')
        return schedule
    if batches is None and schedule != 'constant':
        raise UsageError("how many batches an epoch has is not known: schedule='constant', or data with a len()")
    native = structs.Schedule(text=text(schedule, 'schedule'), epoch_steps=batches or 0,
                              lr=number(network.settings['lr'] if lr is None else lr, 'lr'),
                              steps=going.steps or 10**12, warmup=whole(warmup[0], 'warmup', 0, 2**62),
                              warmup_epochs=number(warmup[1], 'warmup_epochs'))
    found = c_float()

    def rate(step: int) -> float:
        plain('schedule_lr', byref(native), min(step, native.steps - 1), byref(found))
        return found.value
    rate(0)     # what is wrong with it is told before the first step
    return rate


def _train(going: Fit, source: Source, rate: Callable[[int], float], called: Callable, progress: Progress) -> dict:
    """An epoch's steps; its record."""
    network, history, sum_of, spent = going.network, going.history, NO_METRICS, 0.0
    for images, labels, *mixed in source.epoch(going.epoch - 1):
        start = time.perf_counter()
        images = images_of(images, network.input)
        if len(images) < network.least_batch:
            continue
        going.lr = rate(going.step)
        pairs = dict(zip(('others', 'share'), mixed))
        going.metrics = network.step(images, labels, lr=going.lr, **pairs)
        took = time.perf_counter() - start
        going.step += 1
        if not math.isfinite(going.metrics.loss):
            raise DivergedError('the loss is not finite at step %d, which updated no parameter; try a smaller lr'
                                % going.step)
        spent += took
        sum_of += going.metrics
        history.steps.append({'step': going.step, 'epoch': going.epoch, 'loss': going.metrics.loss, 'lr': going.lr,
                              'images_per_s': going.metrics.count / took})
        progress.bar(going, sum_of, sum_of.count / spent)
        called('step', going)
        if going.stop:
            break
    if not sum_of.count:
        raise UsageError('epoch %d had no batch: data that can be gone through once last for one epoch' % going.epoch)
    return {'epoch': going.epoch, **_scores('train', sum_of), 'train_s': spent}


def _judged(record: dict, network: Network) -> float:
    """The larger, the better."""
    if network.generates:
        return -next(record[name] for name in ('val_loss', 'test_loss', 'train_loss') if name in record)
    return next(record[name] for name in ('val_top1', 'test_top1', 'val_mean_iou', 'test_mean_iou', 'train_top1',
                                          'train_pixel_accuracy') if name in record)


def _validate(going: Fit, validation: Any, record: dict) -> None:
    start = time.perf_counter()
    split = validation.judge if isinstance(validation, Data) else 'validation'
    batches = held_out(validation, going.network, split)
    found = sum((going.network._evaluate(*batch) for batch in batches), NO_METRICS)
    name = 'test' if split == 'test' else 'val'
    record.update({**_scores(name, found), name + '_s': time.perf_counter() - start})


def _scores(name: str, found: Metrics) -> dict:
    if found.pixels:
        more = {} if found.confusion is None else {name + '_mean_iou': 100 * found.mean_iou}
        return {name + '_loss': found.loss, name + '_pixel_accuracy': 100 * found.accuracy, **more}
    if found.top1 is None:
        return {name + '_loss': found.loss}
    share = 100 / found.count if found.count else math.nan
    return {name + '_loss': found.loss, name + '_top1': share * found.top1, name + '_top5': share * found.top5}


def _told(record: dict) -> str:
    """As `blanch train` says it."""
    if 'train_top1' not in record and 'train_pixel_accuracy' not in record:
        told = ['train loss %.4f' % record['train_loss']]
        told += ['%s loss %.4f' % (title, record[name + '_loss'])
                 for name, title in (('val', 'validation'), ('test', 'test')) if name + '_loss' in record]
        seconds = sum(record[name] for name in ('train_s', 'val_s', 'test_s') if name in record)
        return 'epoch %d: %s; %.1f s' % (record['epoch'], '; '.join(told), seconds)
    pixels = 'train_pixel_accuracy' in record
    right = record['train_pixel_accuracy' if pixels else 'train_top1']
    line = 'epoch %d: train loss %.4f, %s %.2f %%' % (record['epoch'], record['train_loss'],
                                                      'pixels' if pixels else 'top-1', right)
    seconds = record['train_s']
    for name, title in (('val', 'validation'), ('test', 'test')):
        if name + '_loss' in record:
            shown = ('mean IoU', '_mean_iou', 'pixels', '_pixel_accuracy') if pixels else ('top-1', '_top1', 'top-5',
                                                                                         '_top5')
            line += '; %s loss %.4f, %s %.2f %%, %s %.2f %%' % (
                title, record[name + '_loss'], shown[0], record[name + shown[1]], shown[2], record[name + shown[3]])
            seconds += record[name + '_s']
    return '%s; %.1f s' % (line, seconds)
