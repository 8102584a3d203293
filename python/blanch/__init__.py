"""Training convolutional networks on any OpenCL device.

>>> import blanch, numpy as np
>>> network = blanch.Network('smallcnn', norm='nd', batch=8, lr=0.05)
>>> images = np.random.default_rng(0).normal(size=(8, *network.input)).astype(np.float32)
>>> network.step(images, np.arange(8)).count
8
"""
from . import nn
from .data import Data
from .device import Device, DeviceInfo, devices
from .errors import (DeviceError, DivergedError, Error, FileError, InputError, Interrupted, LimitError, MismatchError,
                     OutOfMemoryError, UsageError)
from .fit import Fit, History
from .ledger import Ledger
from .library import VERSION as version
from .model import Model, models
from .network import Metrics, Network

__version__ = version
__all__ = ['Data', 'Device', 'DeviceError', 'DeviceInfo', 'DivergedError', 'Error', 'FileError', 'Fit', 'History',
           'InputError', 'Interrupted', 'Ledger', 'LimitError', 'Metrics', 'MismatchError', 'Model', 'Network',
           'OutOfMemoryError', 'UsageError', 'devices', 'models', 'nn', 'version']
