"""Data as the command line names them, and batches of whatever a fit or an evaluation is given."""
from __future__ import annotations

import ctypes
import logging
from ctypes import byref
from typing import Any, Iterable, Iterator, Mapping, Optional, Union

import numpy as np

from . import structs
from .arrays import array_of, copied, number, text, whole
from .errors import UsageError
from .library import Closing, Handle, Turn, call, lib

LOG = logging.getLogger('blanch')


class Data(Closing):
    """Images with labels: 'fashion-mnist[:DIR]', 'mnist:DIR', 'cifar10:DIR', 'cifar100:DIR', 'folder:DIR',
    'npz:FILE', 'synthetic:CxHxW:CLASSES'; with masks: 'pairs:DIR', 'voc:DIR', 'synthetic-seg:CxHxW:CLASSES'. seed
    divides a folder without splits, and val_split ('10%'), the share of the training images that validates instead;
    split_file says which image is of which split, cache is a folder that keeps decoded pictures: the options of these
    names.

    >>> import blanch
    >>> data = blanch.Data('synthetic:3x32x32:10')
    >>> data.classes, data.channels
    (10, 3)
    """

    def __init__(self, spec: str, seed: int = 0, *, val_split: Optional[str] = None, split_file: Any = None,
                 cache: Any = None) -> None:
        self.spec = spec
        options = structs.DataOptions(seed=whole(seed, 'seed', 0, 2**53))
        for name, value in (('val_split', val_split), ('split_file', split_file), ('cache', cache)):
            if value is not None:
                setattr(options, name, text(value, name))
        self._handle = Handle('data', Turn(), 'data_close', 'data_open_with', text(spec, 'data'), byref(options))
        info = structs.DataInfo()
        self._call('data_info', byref(info))
        self.name: str = info.name.decode()
        self.classes: int = info.classes
        self.masks: bool = info.masks       # images have masks: labels are (N, H, W), of their pixels
        self.channels: int = info.channels
        self.images: dict[str, int] = dict(zip(structs.SPLITS, info.images))
        self.judge: str = structs.SPLITS[info.judge]    # the images that tell which weights are best
        names = [lib.blanch_data_class(self._handle.pointer, label) for label in range(self.classes)]
        self.class_names: list[str] = [name.decode(errors='replace') for name in names]
        self.tell()

    def tell(self) -> None:
        """What there is to say of the data goes to the log."""
        while True:
            line = lib.blanch_data_message(self._handle.pointer)
            if not line:
                return
            LOG.warning('%s: %s', self.spec, line.decode(errors='replace'))

    def _view(self, network: Any, augment: Optional[str] = None, normalise: Optional[str] = None,
              **more: Any) -> structs.View:
        channels, height, width = network.input
        view, said = structs.View(), structs.View()
        self._call('data_view', channels, height, width, byref(view))
        network._call('network_view', byref(said))
        if network.generates and normalise is not None:
            raise UsageError('normalise: a network that generates normalises images as it needs them')
        if normalise is not None:
            call(self._handle.turn, 'view_normalise', byref(view), self._handle.pointer, text(normalise, 'normalise'))
        elif said.channels:
            view.mean, view.deviation = said.mean, said.deviation
        if augment is not None:
            view.augment = text(augment, 'augment')
        if more.get('auto_augment'):
            view.auto_augment = text(more['auto_augment'], 'auto_augment')
        for name in ('mixup', 'cutmix', 'random_erase'):
            if more.get(name):
                setattr(view, name, number(more[name], name))
        return view

    def _adopt(self, network: Any, normalise: Optional[str]) -> bool:
        """The network's weights are trained on these images from now on, which its files say. Whether these are
        normalised as its weights said, otherwise than goes with the data."""
        usual, view = structs.View(), self._view(network, normalise=normalise)
        self._call('data_view', *network.input, byref(usual))
        names = self._handle.pointer if self.classes == network.classes else None
        network._call('network_set_view', byref(view), names)
        if network.generates or normalise is not None:
            return False
        return any(list(getattr(view, name)) != list(getattr(usual, name)) for name in ('mean', 'deviation'))

    def read(self, path: Any, network: Any) -> np.ndarray:
        """One image of a file, (C, H, W) float32, as the network takes it in evaluation."""
        image = np.empty(network.input, np.float32)
        call(Turn(), 'image_read', text(path, 'path'), byref(self._view(network)), image.ctypes.data)
        return image

    def batches(self, network: Any, split: str = 'train', *, training: Optional[bool] = None, epoch: int = 0,
                seed: int = 0, batch: Optional[int] = None, augment: Optional[str] = None, workers: int = 0,
                **more: Any) -> Loader:
        """One epoch of (images, labels), arrays of their own, as the network takes them: (N, C, H, W) float32 and (N,)
        int32, or (N, H, W) of data with masks, 255 where a pixel has no label. training (of split 'train', unless said
        otherwise): shuffled by seed and epoch, augmented ('none', 'cifar', 'imagenet'; None: what goes with the data),
        and a last batch that the network cannot take is left out.
        Without normalise, images are normalised as the network's weights say, or else as goes with the data.
        more: normalise, auto_augment, random_erase, mixup, cutmix, as the options take them; of the last two batches
        are (images, labels, others, share), for `network.step(images, labels, others=others, share=share)`."""
        if split not in structs.SPLITS:
            raise UsageError('split takes %s, not %r' % (', '.join(structs.SPLITS), split))
        training = split == 'train' if training is None else bool(training)
        view = self._view(network, augment, **more)
        options = structs.LoaderOptions(split=structs.SPLITS.index(split), view=ctypes.pointer(view),
                                        batch=whole(network.batch if batch is None else batch, 'batch', 1),
                                        training=training, least=network.least_batch if training else 0,
                                        seed=whole(seed, 'seed', 0, 2**53), epoch=whole(epoch, 'epoch'), epochs=1,
                                        workers=whole(workers, 'workers', 0, 16))
        return Loader(self, options)

    def __repr__(self) -> str:
        return '<blanch.Data %s>' % self.spec


class Loader(Closing):
    """Batches of one epoch, prepared ahead in threads of the library."""

    def __init__(self, data: Data, options: structs.LoaderOptions) -> None:
        self.data = data
        view = options.view.contents
        self._shape = (view.channels, view.height, view.width)
        self._handle = Handle('loader', data._handle.turn, 'loader_close', 'loader_open', data._handle.pointer,
                              byref(options))
        self._batches = self._call('loader_batches')

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Loader:
        return self

    def __next__(self) -> tuple:
        batch = structs.Batch()
        self._call('loader_next', byref(batch))
        if not batch.count:
            self.data.tell()
            self.close()
            raise StopIteration
        pixels = self._shape[1:] if self.data.masks else ()
        pair = copied(batch.images, (batch.count, *self._shape)), copied(batch.labels, (batch.count, *pixels))
        return (*pair, copied(batch.others, (batch.count,)), batch.share) if batch.others else pair


# --- what a fit is given -----------------------------------------------------------------------------

Batches = Iterable[tuple[Any, Any]]


def is_pair(data: Any) -> bool:
    return isinstance(data, (tuple, list)) and len(data) == 2 and all(
        hasattr(part, '__array__') or hasattr(part, '__dlpack__') for part in data)


def is_images(data: Any, network: Any) -> bool:
    """Alone, where a network is told no classes."""
    return not network.told_classes and not isinstance(data, (tuple, list)) and (
        hasattr(data, '__array__') or hasattr(data, '__dlpack__'))


def held_out(data: Any, network: Any, split: Optional[str] = None) -> Iterator[tuple[Any, Any]]:
    """(images, labels) to evaluate on: a pair as it is, batches, or those of data."""
    if isinstance(data, str):
        data = Data(data)
    if isinstance(data, Data):
        known = split or ('test' if data.images['test'] else 'validation' if data.images['validation'] else 'train')
        return data.batches(network, known, training=False)
    if is_images(data, network):
        return iter([(data, None)])
    return iter([data]) if is_pair(data) else _checked(data, network)


def _checked(batches: Any, network: Any) -> Iterator[tuple[Any, Any]]:
    try:
        each = iter(batches)
    except TypeError:
        raise UsageError('data are a pair (images, labels), batches of them, or a data spec, not %s'
                         % type(batches).__name__) from None
    for item in each:
        if not network.told_classes and isinstance(item, (tuple, list)) and len(item) == 1:
            item = item[0], None
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            raise UsageError('a batch is a pair (images, labels), not %s' % type(item).__name__)
        yield item[0], item[1]


class Source:
    """What a fit takes its batches from."""

    def __init__(self, data: Any, network: Any, seed: int, batch: Optional[int], augment: Optional[str],
                 shuffle: bool, opened: Mapping[str, Any], **more: Any) -> None:
        self.more = {name: value for name, value in more.items() if value}
        opened = {name: value for name, value in opened.items() if value is not None}
        self.network, self.seed, self.shuffle, self.augment = network, whole(seed, 'seed', 0, 2**53), shuffle, augment
        self.batch = whole(network.batch if batch is None else batch, 'batch', 1, network.batch)
        if opened and not isinstance(data, str):
            raise UsageError('%s: of a data spec alone' % ', '.join(opened))
        self.data = Data(data, seed, **opened) if isinstance(data, str) else data
        self.pair = None
        self.as_weights_say = False
        if (augment is not None or self.more) and not isinstance(self.data, Data):
            raise UsageError('%s: of a data spec alone; change these images before'
                             % ', '.join(['augment'] * (augment is not None) + list(self.more)))
        if isinstance(self.data, Data):
            self.batches: Optional[int] = len(self._load(0))
            self.as_weights_say = self.data._adopt(network, more.get('normalise'))
        elif is_pair(data) or is_images(data, network):
            images, labels = data if is_pair(data) else (data, None)
            self.pair = array_of(images, 'images'), None if labels is None else array_of(labels, 'labels')
            self.batches = self._count(*self.pair)
        else:
            self.batches = len(data) if hasattr(data, '__len__') else None

    def _count(self, images: np.ndarray, labels: Optional[np.ndarray]) -> int:
        labelled = self.network.pixels
        if images.ndim != 4 or (labels is not None and labels.shape != (len(images), *labelled)):
            raise UsageError('images %s%s: (N, C, H, W)%s needed' % (
                images.shape, '' if labels is None else ' and labels %s' % (labels.shape,),
                ' is' if labels is None else ' and %s are' % ('(N, %d, %d)' % labelled if labelled else '(N,)')))
        batches, rest = divmod(len(images), self.batch)
        return batches + (rest >= self.network.least_batch)

    def _load(self, epoch: int) -> Loader:
        return self.data.batches(self.network, 'train', training=self.shuffle, epoch=epoch, seed=self.seed,
                                 batch=self.batch, augment=self.augment, **self.more)

    def epoch(self, number: int) -> Iterator[tuple[Any, Any]]:
        if isinstance(self.data, Data):
            return self._load(number)
        if self.pair is None:
            return _checked(self.data, self.network)
        return self._slices(*self.pair, number)

    def _slices(self, images: np.ndarray, labels: Optional[np.ndarray], epoch: int) -> Iterator[tuple[Any, Any]]:
        order = np.random.default_rng((self.seed, epoch)).permutation(len(images)) if self.shuffle else None
        for first in range(0, len(images), self.batch):
            part = slice(first, first + self.batch) if order is None else order[first:first + self.batch]
            yield images[part], None if labels is None else labels[part]
