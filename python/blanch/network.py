"""Networks on a device: steps, predictions, state dicts, and where the time goes."""
from __future__ import annotations

import ctypes
import math
import os
from ctypes import byref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Mapping, Optional, Sequence, Union

import numpy as np

from . import options, structs
from .arrays import images_of, labels_of, number, pointer, text, values_of, whole
from .config import of_fit, of_network, over_fit
from .device import Device, default_device
from .errors import Error, InputError, UsageError
from .ledger import Ledger, read_ledger, read_layers, read_overhead
from .library import Closing, Handle, lib
from .model import Model

if TYPE_CHECKING:
    from .fit import History


@dataclass(frozen=True)
class Metrics:
    """Of images with labels: the mean loss, how many there are, how many were right. Of a network that labels pixels
    (top1 and top5 are 0): how many have a label, how many of them were right, and of an evaluation confusion (classes,
    classes): pixels of a class (row) by what was answered. Of a network that generates, None in place of top1 and
    top5."""

    loss: float
    count: int
    top1: Optional[int]
    top5: Optional[int]
    pixels: int = 0
    right: int = 0
    confusion: Optional[np.ndarray] = field(default=None, compare=False, repr=False)

    @property
    def accuracy(self) -> float:
        """Top-1, or the share of the labelled pixels that is right, from 0 to 1; nan of a network that generates."""
        if self.pixels:
            return self.right / self.pixels
        return self.top1 / self.count if self.count and self.top1 is not None else math.nan

    @property
    def iou(self) -> np.ndarray:
        """Of an evaluation, by class: pixels that are right among those that are of it or were answered as it; nan: of
        none."""
        if self.confusion is None:
            raise UsageError('intersections over unions are of an evaluation of a network that labels pixels')
        right = np.diag(self.confusion)
        either = self.confusion.sum(0) + self.confusion.sum(1) - right
        return np.where(either > 0, right / np.maximum(either, 1), np.nan)

    @property
    def mean_iou(self) -> float:
        return float(np.nanmean(self.iou))

    def __add__(self, other: Metrics) -> Metrics:
        """Of both together."""
        own, more = self.pixels or self.count, other.pixels or other.count
        loss = (self.loss * own + other.loss * more) / (own + more) if own + more else 0.0
        parts = [m.confusion for m in (self, other) if m.confusion is not None]
        if self.top1 is None or other.top1 is None:
            return Metrics(loss, self.count + other.count, None, None)
        return Metrics(loss, self.count + other.count, self.top1 + other.top1, self.top5 + other.top5,
                       self.pixels + other.pixels, self.right + other.right, sum(parts) if parts else None)


NO_METRICS = Metrics(0.0, 0, 0, 0)
UNLABELLED = 255     # the label of a pixel that has none


class Network(Closing):
    """A network on a device.

    model: a name of `blanch.models()`, a path ('FILE.json', 'FILE.onnx'), a description (text or dict), a
    `blanch.Model`, or a `blanch.nn` module with input=(C, H, W).
    device: a `blanch.Device` or what it takes; None: the default device, shared.
    norm: 'bn', 'gn', 'ln', 'nd', 'none', 'own' (None): a file's network as it says, a built-in one with batch norm.
    batch: images of the largest step. classes, input: None: the model's own.
    pairs: steps may be given mixed images, each with two labels.
    config: a file with settings, a run's config.json say, for what is not given.
    The other options have the names of the command line (`blanch train --help`, docs/options.md): optimiser, recompute,
    precision, seed; of the recipe label_smoothing, class_weights (a number for each class), no_decay, freeze_layers,
    ema, accumulate; of network deconvolution block, nd_iter, nd_eps, nd_momentum, sampling_stride, block_fc, freeze,
    refresh, whiten, cov_samples, overhead_budget, whiten_grad, channel_deconv, nd_preset; and those of an update, which
    every step has that does not say otherwise: lr, momentum, weight_decay, nesterov, beta1, beta2, eps, clip_grad_norm.

    >>> import blanch, numpy as np
    >>> with blanch.Network('smallcnn', norm='nd', batch=4, nd_iter=4) as network:
    ...     network.predict(np.zeros((2, *network.input), np.float32)).shape
    (2, 10)
    """

    _tables: tuple = ()     # of ranks, with what their methods are of

    def __init__(self, model: Any = None, device: Union[Device, str, None] = None, *, norm: Optional[str] = None,
                 batch: Optional[int] = None, classes: Optional[int] = None, input: Optional[Sequence[int]] = None,
                 inference: bool = False, pairs: Optional[bool] = None, config: Any = None, **more: Any) -> None:
        if config is not None:
            given = dict(model=model, device=device, norm=norm, batch=batch, classes=classes, input=input, pairs=pairs)
            self._create(inference=inference, **options.over(of_network(config), {**given, **more}))
        else:
            self._create(model, device, norm, batch, classes, input, inference, pairs, **more)

    def _create(self, model: Any = None, device: Union[Device, str, None] = None, norm: Optional[str] = None,
                batch: Optional[int] = None, classes: Optional[int] = None, input: Optional[Sequence[int]] = None,
                inference: bool = False, pairs: Optional[bool] = None, **more: Any) -> None:
        update, made = options.split(more)
        if model is None:
            raise UsageError('there is no model: a name, a file, or a module')
        if not isinstance(model, Model):
            model = Model(model, input) if hasattr(model, 'describe') else Model(model)
        self.device = device if isinstance(device, Device) else Device(device) if device else default_device()
        native = options.network(norm, made)
        native.definition = model.pointer
        native.loss.contents.pairs = bool(pairs)
        native.batch, native.inference = whole(128 if batch is None else batch, 'batch', 1), bool(inference)
        native.classes = whole(classes or 0, 'classes')
        if input is not None:
            native.channels, native.height, native.width = options.size_of(input)
        self._take(model, Handle('network', self.device.turn, 'network_free', 'network_create', self.device.pointer,
                                 byref(native)))
        self._update = options.update(self.optimiser, update)

    def _take(self, model: Model, handle: Handle) -> None:
        self.model, self._handle = model, handle
        info = self._info()
        self.norm = structs.NORMS[info.norm]
        self.optimiser: str = info.optimiser.decode()
        self.classes: int = info.classes
        self.input: tuple[int, int, int] = (info.channels, info.height, info.width)
        # (H, W) of a network that labels pixels, else ()
        self.pixels: tuple[int, ...] = self.input[1:] if lib.blanch_network_labels_pixels(handle.pointer) else ()
        # whether it makes images (sample), and whether a step is told their classes
        self.generates: bool = lib.blanch_network_generates(handle.pointer)
        self.told_classes: bool = lib.blanch_network_told_classes(handle.pointer)
        self.batch: int = info.batch
        self.least_batch: int = info.least_batch
        self.trainable: int = info.trainable
        self._parameters = [self._parameter(i) for i in range(info.parameters)]

    def ema(self) -> Network:
        """A network made for inference with the averages that the option ema keeps, as they are now."""
        averaged = Network.__new__(Network)
        averaged.device, averaged._update = self.device, self._update
        averaged._take(self.model, Handle('network', self.device.turn, 'network_free', 'network_ema',
                                          self._handle.pointer))
        return averaged

    # --- several ranks ---------------------------------------------------------------------------

    def join(self, comm: Any, sync_stats: bool = False, timeout: float = 0) -> None:
        """From now on the network is that of one rank of several: a step is of the images that all ranks give.

        comm: a communicator of mpi4py, or an object with rank and ranks (numbers), gather(bytes) -> a list of the bytes
        of each rank, exchange(list of bytes) -> what each rank has for this one, spread(bytes, root) -> root's bytes;
        it may be called from another thread. give_up(), where there is one, is told that a step has failed here: calls
        that are under way raise an exception then, at all ranks. KeyboardInterrupt or SystemExit in a method is raised
        by the step. No step follows one that has failed. Parameters and
        the rest of the state become rank 0's. Gradients are summed over all images, metrics are of all of them.
        sync_stats: so are statistics of the batch. timeout: seconds after which a rank that keeps the others waiting
        counts as hung (600).
        """
        from .ranks import collectives
        table = collectives(comm, timeout)
        self._tables += (comm, table),      # as long as the network; one that was refused is used by nobody
        self._call('network_join', byref(table), bool(sync_stats))

    def _call(self, name: str, *arguments: Any) -> int:
        try:
            return super()._call(name, *arguments)
        except Error as failed:
            if not self._tables:
                raise
            from .ranks import explain
            explain([table for _, table in self._tables], failed)

    # --- training --------------------------------------------------------------------------------

    def _labels(self, labels: Any, count: int) -> Optional[np.ndarray]:
        if labels is None:
            if self.told_classes:
                raise UsageError('there are no labels, and a step of %s is told them' % self.model.name)
            return None
        return labels_of(labels, count, self.pixels)

    def _metrics(self, found: structs.Metrics) -> Metrics:
        if self.generates:
            return Metrics(found.loss, found.count, None, None)
        return Metrics(found.loss, found.count, found.top1, found.top5, found.pixels, found.right)

    def step(self, images: Any, labels: Any = None, lr: Optional[float] = None, *, others: Any = None, share: float = 1,
             **settings: Any) -> Metrics:
        """One training step: forward, backward, update.

        images: (N, C, H, W) floats, normalised, N up to `batch`. labels: (N,) whole numbers from 0; of a network that
        labels pixels (N, H, W), 255 where there is none; None where a network is told none. Whatever has __array__ or
        __dlpack__ and lies in host memory is taken. Of mixed images, where the network was made with
        pairs=True, `share` of each is of its label and the rest of its label in others (N,). lr and settings (those of
        an update) are of this step; what is left out is the network's. The metrics are the batch's before its update; a
        loss that is not finite updates no parameter, though running statistics have seen the batch.
        """
        update = self._update if lr is None and not settings else options.changed(
            self._update, settings if lr is None else {**settings, 'lr': lr})
        images = images_of(images, self.input)
        labels = self._labels(labels, len(images))
        found = structs.Metrics()
        if others is None:
            self._call('network_step', pointer(images), pointer(labels), len(images), byref(update), byref(found))
        else:
            others = labels_of(others, len(images))
            pairs = structs.LabelPairs(labels=pointer(labels), others=pointer(others), share=number(share, 'share'))
            self._call('network_step_pairs', pointer(images), byref(pairs), len(images), byref(update), byref(found))
        return self._metrics(found)

    def fit(self, data: Any = None, epochs: Optional[int] = None, *, config: Any = None, **more: Any) -> History:
        """Trains for epochs (1) on data; help(blanch.fit.fit) has its options. config: a file with settings, a run's
        config.json say, for what is not given."""
        from .fit import fit
        given = {name: value for name, value in {'data': data, 'epochs': epochs, **more}.items() if value is not None}
        if config is not None:
            given = over_fit(of_fit(config), given)
        if 'data' not in given:
            raise UsageError('there are no data: a pair (images, labels), batches of them, or a data spec')
        return fit(self, **given)

    def predict(self, images: Any) -> np.ndarray:
        """Logits (N, classes) float32 of images (N, C, H, W), any number of them, in evaluation mode; of a network that
        labels pixels (N, classes, H, W)."""
        images = images_of(images, self.input)
        logits = np.empty((len(images), self.classes, *self.pixels), np.float32)
        self._call('network_predict', pointer(images), len(images), pointer(logits))
        return logits

    def evaluate(self, data: Any, labels: Any = None) -> Metrics:
        """Mean loss and how many are right, in evaluation mode, any number of images.

        data: images (N, C, H, W), with labels as a step has them; or what `fit` takes: a pair, batches, or a data spec,
        whose test images (else validation) are taken.
        """
        if labels is None:
            from .data import held_out
            return sum((self._evaluate(*batch) for batch in held_out(data, self)), NO_METRICS)
        return self._evaluate(data, labels)

    def _evaluate(self, images: Any, labels: Any) -> Metrics:
        images = images_of(images, self.input)
        labels = self._labels(labels, len(images))
        if self.pixels:
            return self._evaluate_pixels(images, labels)
        found = structs.Metrics()
        self._call('network_evaluate', pointer(images), pointer(labels), len(images), byref(found))
        return self._metrics(found)

    def _evaluate_pixels(self, images: np.ndarray, labels: np.ndarray) -> Metrics:
        """By the logits, a batch at a time: the confusion of classes is wanted too."""
        confusion, loss = np.zeros((self.classes, self.classes), np.int64), 0.0
        for first in range(0, len(images), self.batch):
            logits = self.predict(images[first:first + self.batch]).astype(np.float64)
            part = labels[first:first + self.batch]
            there = part != UNLABELLED
            if not np.isin(part[there], np.arange(self.classes)).all():
                raise InputError('a label is none of the %d classes' % self.classes)
            logits -= logits.max(1, keepdims=True)
            of_label = np.take_along_axis(logits, np.where(there, part, 0)[:, None], 1)[:, 0]
            loss += float((np.log(np.exp(logits).sum(1)) - of_label)[there].sum())
            both = part[there].astype(np.int64) * self.classes + logits.argmax(1)[there]
            confusion += np.bincount(both, minlength=self.classes ** 2).reshape(confusion.shape)
        pixels = int(confusion.sum())
        return Metrics(loss / pixels if pixels else 0.0, len(images), 0, 0, pixels, int(np.trace(confusion)), confusion)

    def sample(self, count: int = 64, *, seed: int = 0, classes: Any = None, first: int = 0) -> np.ndarray:
        """Images that a network that generates makes: (count, C, H, W) float32, pixels from 0 to 1.

        seed: of the noise, with the image's number: the same on every device, however many are made at once. first: the
        number of the first one. classes: a whole number for all, or one for each; None: the classes in turn. A network
        that trains has one for inference made each time: where memory is short, sample one made with inference=True.
        """
        options = structs.SampleOptions(seed=whole(seed, 'seed', 0, 2**53), first=whole(first, 'first'))
        count = whole(count, 'count', 1)
        if classes is not None:
            labels = labels_of(np.broadcast_to(classes, count) if np.ndim(classes) == 0 else classes, count)
            options.labels = pointer(labels)
        images = np.empty((count, *self.input), np.float32)
        self._call('network_sample', byref(options), count, pointer(images))
        return images

    # --- state -----------------------------------------------------------------------------------

    def _info(self) -> structs.NetworkInfo:
        info = structs.NetworkInfo()
        self._call('network_info', byref(info))
        return info

    def _parameter(self, index: int) -> tuple[str, tuple, bool]:
        """Name, shape, whether it is a counter."""
        info = structs.ParameterInfo()
        self._call('parameter_info', index, byref(info))
        return info.name.decode(), tuple(info.shape[:info.dims]), info.counter

    @property
    def settings(self) -> dict[str, Any]:
        """Of a step that does not say otherwise: lr, momentum, weight_decay, ..."""
        return {name: getattr(self._update, name) for name in options.UPDATE}

    def set(self, **settings: Any) -> None:
        """Changes what every step takes that does not say otherwise: set(lr=0.01)."""
        self._update = options.changed(self._update, settings)

    @property
    def steps(self) -> int:
        """Training steps so far, those before a checkpoint included."""
        return self._info().steps

    @property
    def device_bytes(self) -> int:
        """Of the device's memory that it takes."""
        return self._info().device_bytes

    def state_dict(self) -> dict[str, np.ndarray]:
        """Parameters and buffers under PyTorch's names: float32 in PyTorch's shapes, counters int64 without
        dimensions. torch.from_numpy, or anything that reads DLPack, takes each."""
        return {name: self._read(index, shape, counter)
                for index, (name, shape, counter) in enumerate(self._parameters)}

    def _read(self, index: int, shape: tuple, counter: bool) -> np.ndarray:
        if counter:
            value = ctypes.c_int64()
            self._call('counter_read', index, byref(value))
            return np.array(value.value, np.int64)
        values = np.empty(shape, np.float32)
        self._call('parameter_read', index, pointer(values), values.size)
        return values

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> tuple[list[str], list[str]]:
        """Takes parameters and buffers, arrays or tensors in host memory; nothing is changed unless all fit.

        strict: InputError where a name is missing or unknown. Returns the names that were missing, and those that
        were not known.
        """
        if not isinstance(state, Mapping):
            raise UsageError('a state dict maps names to arrays, and this is a %s' % type(state).__name__)
        missing = [name for name, _, _ in self._parameters if name not in state]
        unknown = [str(name) for name in state if name not in {known for known, _, _ in self._parameters}]
        if strict and (missing or unknown):
            raise InputError('the state dict lacks %d names (%s) and has %d others (%s)'
                             % (len(missing), ', '.join(missing[:3]), len(unknown), ', '.join(unknown[:3])))
        values = [(index, counter, values_of(state[name], name, shape, counter))
                  for index, (name, shape, counter) in enumerate(self._parameters) if name in state]
        for index, counter, value in values:
            if counter:
                self._call('counter_write', index, int(value))
            else:
                self._call('parameter_write', index, pointer(value), value.size)
        return missing, unknown

    @property
    def view(self) -> Optional[dict]:
        """How images became the input of these weights: augment, and mean and deviation by channel, of values from 0 to
        1. Of the data spec of the last fit, or as the file said that was loaded; of a network that generates its own;
        None: it is not known."""
        found = structs.View()
        self._call('network_view', byref(found))
        of = slice(found.channels)
        return {'augment': found.augment.decode(), 'mean': list(found.mean[of]),
                'deviation': list(found.deviation[of])} if found.channels else None

    def save(self, path: Union[str, os.PathLike]) -> None:
        """Writes the state dict as safetensors, with PyTorch's names; its metadata say what the network and its view
        are."""
        self._call('network_save', text(path, 'path'))

    def export(self, path: Union[str, os.PathLike], encoder: bool = False) -> None:
        """Writes it for inference, batch norm and deconvolution folded into its weights: 'FILE.onnx', for ONNX Runtime
        and the like, or 'FILE.safetensors', the folded weights and biases under PyTorch's names. encoder: of a network
        that generates its encoder, in place of what makes images."""
        self._call('network_export_encoder' if encoder else 'network_export', text(path, 'path'))

    def load(self, path: Union[str, os.PathLike]) -> None:
        """Reads a state dict from safetensors; nothing is changed unless the whole file fits."""
        self._call('network_load', text(path, 'path'))

    def init(self, path: Union[str, os.PathLike]) -> int:
        """Takes from a state dict what fits by name and shape, to begin from another network's weights; how many. With
        them comes their view: fits on data specs normalise as the weights say, unless they are told otherwise."""
        taken = ctypes.c_int()
        self._call('network_init', text(path, 'path'), byref(taken))
        return taken.value

    def checkpoint(self, directory: Union[str, os.PathLike]) -> None:
        """Saves what training goes on from with the same bits, in two files that are replaced together."""
        self._call('network_save_state', text(directory, 'directory'))

    def resume(self, directory: Union[str, os.PathLike]) -> None:
        """Goes on from a checkpoint of a network made with the same options."""
        self._call('network_load_state', text(directory, 'directory'))

    # --- where the time goes ---------------------------------------------------------------------

    def record(self, on: bool = True) -> None:
        """From now on every step's time is taken down, which takes a little itself; until record(False)."""
        self._call('network_record', bool(on))

    def ledger(self) -> Ledger:
        """Milliseconds of a step, of all recorded steps, by layer and phase."""
        return read_ledger(self._call)

    def layers(self) -> list[dict]:
        """Layers in the order of execution: name, op, output (C, H, W), multiply_adds of an image, engines."""
        return read_layers(self._call, self._info().layers)

    def engines(self) -> dict[str, dict[str, str]]:
        """What computes each convolution: {layer: {'forward': ..., 'backward_data': ..., 'backward_weights': ...}}."""
        return {layer['name']: layer['engines'] for layer in self.layers() if layer['engines']}

    def overhead(self) -> dict:
        """The overhead budget, per cent over the same network's steps with batch norm: allowed, held, least (None
        where there is none yet), and layers, {name: steps between two refreshes}."""
        return read_overhead(self._call)

    def __repr__(self) -> str:
        closed = '' if self._handle.close.alive else ', closed'
        return '<blanch.Network %s, %s, batch %d%s>' % (self.model.name, self.norm, self.batch, closed)
