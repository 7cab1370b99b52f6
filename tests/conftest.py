"""Set-up shared by all tests: no network, two virtual CPUs, one strategy for both, seeds."""

import gc
import ipaddress
import os
import socket

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import pytest
import tensorflow as tf
from processor import channels_first_runs

_getaddrinfo = socket.getaddrinfo


def _only_here(host):
    """No OSError: what tries the network and does without it must not pass unseen."""
    try:
        here = host in (None, "", "localhost") or ipaddress.ip_address(host).is_loopback
    except ValueError:
        here = False
    if not here:
        raise RuntimeError(f"Tests must not use the network. Received: a connection to {host!r}")


def _guarded(connect):
    def connect_here(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6):
            _only_here(address[0])
        return connect(self, address)

    return connect_here


def _resolve_here(host, *args, **kwargs):
    _only_here(host.decode() if isinstance(host, bytes) else host)
    return _getaddrinfo(host, *args, **kwargs)


socket.socket.connect = _guarded(socket.socket.connect)
socket.socket.connect_ex = _guarded(socket.socket.connect_ex)
socket.getaddrinfo = _resolve_here

_cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(_cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


@pytest.fixture(scope="session")
def two_replicas():
    """One strategy for the session: a second one in a process collides with it on CPU."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@pytest.fixture(autouse=True)
def _fresh():
    keras.utils.set_random_seed(7)
    yield
    keras.config.set_dtype_policy("float32")
    keras.backend.clear_session()  # collects garbage
    gc.freeze()  # what is alive now need not be looked through again after every test


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Skip a test that meets a channels-first convolution where TensorFlow has none."""
    try:
        return (yield)
    except tf.errors.UnimplementedError as error:
        if "NHWC" in str(error) and not channels_first_runs():
            pytest.skip("TensorFlow has no channels-first convolutions on this processor")
        raise
