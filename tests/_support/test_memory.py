"""What traced models leave behind is given back."""

import gc

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.func_graph import FuncGraph

import tf_alignment as ta


def trained(feedback):
    layers = [keras.Input((4,)), keras.layers.Dense(4, "relu"), keras.layers.Dense(2)]
    model = ta.convert(keras.Sequential(layers), feedback)
    model.compile("sgd", "mse")
    model.train_on_batch(np.ones((2, 4)), np.ones((2, 2)))
    return model


def graphs():
    gc.collect()
    return sum(isinstance(o, FuncGraph) for o in gc.get_objects())


def test_no_graph_of_earlier_models_stays():
    gc.unfreeze()  # the fixture of all tests hides what they leave
    ta.clear_session()
    before = graphs()
    for method in ("fa", "sa"):
        trained(method)
    keras.utils.clear_session()
    assert graphs() > before  # if not, TensorFlow has learned to forget
    ta.clear_session()
    assert graphs() <= before


def test_a_model_that_is_alive_goes_on():
    model = trained("sa")
    before = model.layers[-1].kernel.numpy()
    ta.clear_session()
    model.train_on_batch(np.ones((2, 4)), np.ones((2, 2)))
    assert np.abs(model.layers[-1].kernel.numpy() - before).max() > 0
    model.compile("sgd", "mse")
    model.train_on_batch(np.ones((2, 4)), np.ones((2, 2)))
    assert tf.executing_eagerly()
