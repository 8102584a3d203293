"""The structs of blanch.h, field by field. tests/python.py holds their sizes and offsets against a C compiler's."""
from __future__ import annotations

import ctypes
from ctypes import POINTER, c_bool, c_char, c_char_p, c_double, c_float, c_int, c_int32, c_int64, c_size_t, c_uint32, \
    c_uint64, c_void_p

PHASES = 32     # BLANCH_PHASES
CHANNELS = 16   # BLANCH_CHANNELS
CPU, GPU, ACCELERATOR = range(3)
NORMS = ('bn', 'nd', 'none', 'own', 'gn', 'ln')
PRECISIONS = ('fp32', 'fp16', 'bf16')
WHITEN = {None: 0, 'patches': 1, 'channels': 2}
SPLITS = ('train', 'validation', 'test')


class Sized(ctypes.Structure):
    """A struct that begins with its size."""

    def __init__(self, **fields):
        super().__init__(ctypes.sizeof(self), **fields)


class DeviceInfo(ctypes.Structure):
    _fields_ = [('platform', c_int), ('device', c_int), ('kind', c_int), ('name', c_char * 256),
                ('platform_name', c_char * 128), ('vendor', c_char * 128), ('version', c_char * 128),
                ('driver', c_char * 128), ('c_version', c_char * 64), ('compute_units', c_int), ('clock_mhz', c_int),
                ('max_work_group', c_size_t), ('max_work_item', c_size_t * 3), ('max_alloc', c_uint64),
                ('global_memory', c_uint64), ('local_memory', c_uint64), ('constant_memory', c_uint64),
                ('base_align', c_uint32), ('float_width', c_uint32), ('local_is_real', c_bool), ('fp16', c_bool),
                ('fp64', c_bool), ('subgroups', c_bool), ('out_of_order', c_bool), ('partition', c_bool),
                ('unified_memory', c_bool), ('pci', c_char * 16), ('is_default', c_bool)]


class ModelInfo(Sized):
    _fields_ = [('size', c_size_t), ('name', c_char_p), ('summary', c_char_p), ('classes', c_int), ('channels', c_int),
                ('height', c_int), ('width', c_int)]


class NdOptions(Sized):
    _fields_ = [('size', c_size_t), ('block', c_int), ('iterations', c_int), ('sampling_stride', c_int),
                ('whiten', c_int), ('cov_samples', c_int), ('block_fc', c_int), ('freeze', c_int), ('refresh', c_int),
                ('overhead_budget', c_float), ('constant_gradient', c_int), ('channel_deconv', c_int),
                ('keep_norm', c_int), ('eps', c_float), ('momentum', c_float), ('layers', c_int), ('layer', c_void_p)]


class LossOptions(Sized):
    _fields_ = [('size', c_size_t), ('label_smoothing', c_float), ('weights', c_int), ('class_weights', c_void_p),
                ('pairs', c_bool)]


class NetworkOptions(Sized):
    _fields_ = [('size', c_size_t), ('model', c_char_p), ('norm', c_int), ('nd', POINTER(NdOptions)),
                ('classes', c_int), ('channels', c_int), ('height', c_int), ('width', c_int), ('batch', c_int),
                ('inference', c_bool), ('seed', c_uint64), ('recompute', c_int), ('precision', c_int),
                ('optimiser', c_char_p), ('definition', c_void_p), ('loss', POINTER(LossOptions)),
                ('no_decay', c_char_p), ('freeze_layers', c_char_p), ('accumulate', c_int), ('ema', c_float)]


class NetworkInfo(Sized):
    _fields_ = [('size', c_size_t), ('model', c_char_p), ('optimiser', c_char_p), ('norm', c_int),
                ('precision', c_int), ('classes', c_int), ('channels', c_int), ('height', c_int), ('width', c_int),
                ('batch', c_int), ('least_batch', c_int), ('inference', c_bool), ('parameters', c_int),
                ('layers', c_int), ('trainable', c_int64), ('steps', c_int64), ('multiply_adds', c_double),
                ('device_bytes', c_uint64)]


class ParameterInfo(Sized):
    _fields_ = [('size', c_size_t), ('name', c_char_p), ('dims', c_int), ('shape', c_int64 * 4), ('count', c_int64),
                ('trainable', c_bool), ('counter', c_bool)]


class Update(Sized):
    _fields_ = [('size', c_size_t), ('lr', c_float), ('momentum', c_float), ('weight_decay', c_float),
                ('nesterov', c_bool), ('beta1', c_float), ('beta2', c_float), ('eps', c_float),
                ('unused', c_float), ('clip_grad_norm', c_float)]


class Schedule(Sized):
    _fields_ = [('size', c_size_t), ('text', c_char_p), ('lr', c_float), ('steps', c_int64), ('epoch_steps', c_int64),
                ('warmup', c_int64), ('warmup_epochs', c_float)]


class Metrics(Sized):
    _fields_ = [('size', c_size_t), ('loss', c_double), ('count', c_int), ('top1', c_int), ('top5', c_int),
                ('pixels', c_int64), ('right', c_int64), ('mean_iou', c_double)]


class SampleOptions(Sized):
    _fields_ = [('size', c_size_t), ('seed', c_uint64), ('first', c_int), ('labels', c_void_p)]


class LabelPairs(Sized):
    _fields_ = [('size', c_size_t), ('labels', c_void_p), ('others', c_void_p), ('share', c_float)]


COLLECTIVE = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_size_t, c_void_p)
SPREAD = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_size_t, c_int)
GIVE_UP = ctypes.CFUNCTYPE(None, c_void_p, c_int)


class Collectives(Sized):
    _fields_ = [('size', c_size_t), ('rank', c_int), ('ranks', c_int), ('context', c_void_p), ('gather', COLLECTIVE),
                ('exchange', COLLECTIVE), ('spread', SPREAD), ('meanwhile', c_void_p), ('give_up', GIVE_UP)]


class Layer(Sized):
    _fields_ = [('size', c_size_t), ('name', c_char_p), ('op', c_char_p), ('engine', c_char_p * 3),
                ('channels', c_int), ('height', c_int), ('width', c_int), ('multiply_adds', c_double)]


class Ledger(Sized):
    _fields_ = [('size', c_size_t), ('steps', c_int), ('rows', c_int), ('step_ms', c_double), ('min_ms', c_double),
                ('covered', c_double)]


class LedgerRow(Sized):
    _fields_ = [('size', c_size_t), ('name', c_char_p), ('op', c_char_p), ('ms', c_double * PHASES),
                ('total_ms', c_double)]


class Budget(Sized):
    _fields_ = [('size', c_size_t), ('allowed', c_double), ('held', c_double), ('least', c_double), ('layers', c_int)]


class BudgetLayer(Sized):
    _fields_ = [('size', c_size_t), ('name', c_char_p), ('interval', c_double)]


class DataOptions(Sized):
    _fields_ = [('size', c_size_t), ('seed', c_uint64), ('val_split', c_char_p), ('split_file', c_char_p),
                ('cache', c_char_p)]


class DataInfo(Sized):
    _fields_ = [('size', c_size_t), ('name', c_char_p), ('classes', c_int), ('channels', c_int), ('height', c_int),
                ('width', c_int), ('images', c_int64 * 3), ('judge', c_int), ('masks', c_bool)]


class View(Sized):
    _fields_ = [('size', c_size_t), ('channels', c_int), ('height', c_int), ('width', c_int), ('augment', c_char_p),
                ('mean', c_float * CHANNELS), ('deviation', c_float * CHANNELS), ('mixup', c_float),
                ('cutmix', c_float), ('auto_augment', c_char_p), ('random_erase', c_float)]


class LoaderOptions(Sized):
    _fields_ = [('size', c_size_t), ('split', c_int), ('view', POINTER(View)), ('batch', c_int), ('training', c_bool),
                ('least', c_int), ('seed', c_uint64), ('epoch', c_int64), ('first', c_int64), ('epochs', c_int),
                ('workers', c_int)]


class Batch(Sized):
    _fields_ = [('size', c_size_t), ('images', POINTER(c_float)), ('labels', POINTER(c_int32)), ('count', c_int),
                ('epoch', c_int64), ('last', c_bool), ('others', POINTER(c_int32)), ('share', c_float)]
