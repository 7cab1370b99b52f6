"""Recurrent layers with feedback and their cells, with an input and a recurrent connection each."""

from tf_alignment.layers.recurrent.cells import GRUCell, LSTMCell, SimpleRNNCell
from tf_alignment.layers.recurrent.convolutional import (
    ConvLSTM1D,
    ConvLSTM2D,
    ConvLSTM3D,
    ConvLSTMCell,
)
from tf_alignment.layers.recurrent.neurons import ALIFCell, LeakyRNNCell
from tf_alignment.layers.recurrent.sequences import GRU, LSTM, RNN, Recurrent, SimpleRNN, fed

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "ALIFCell",
    "ConvLSTM1D",
    "ConvLSTM2D",
    "ConvLSTM3D",
    "ConvLSTMCell",
    "GRUCell",
    "LSTMCell",
    "LeakyRNNCell",
    "Recurrent",
    "SimpleRNN",
    "SimpleRNNCell",
    "fed",
]
