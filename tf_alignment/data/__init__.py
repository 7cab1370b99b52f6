"""Data, in an order that depends on a seed and the epoch alone.

`load` gives small datasets by name as arrays (`arrays`), of which `EpochShuffled` makes batches
(`epochs`); `images` reads large ones of images of different sizes, ImageNet above all, and crops
them on the way (`streams`).
"""

from tf_alignment.data.arrays import NAMES, Arrays, Split, load
from tf_alignment.data.epochs import EpochShuffled
from tf_alignment.data.streams import Images, Stream, central_crop, images, random_crop

__all__ = [
    "NAMES",
    "Arrays",
    "EpochShuffled",
    "Images",
    "Split",
    "Stream",
    "central_crop",
    "images",
    "load",
    "random_crop",
]
