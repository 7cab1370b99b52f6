"""Networks of the papers, in stock Keras layers or with a feedback method in all layers.

`resnet` has the residual networks, `small` the perceptrons and small convolutional networks, and
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
