"""Networks of the papers, in stock Keras layers or with a method of feedback in all of them.

`resnet` has all residual networks; `small` the perceptrons and small convolutional networks;
`augmentation` a layer that crops and flips images.
"""

from tf_alignment.models.augmentation import CropAndFlip
from tf_alignment.models.resnet import ChannelPadding, resnet
from tf_alignment.models.small import alexnet, convnet, lenet, perceptron

__all__ = [
    "ChannelPadding",
    "CropAndFlip",
    "alexnet",
    "convnet",
    "lenet",
    "perceptron",
    "resnet",
]
