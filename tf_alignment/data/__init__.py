"""Datasets in an order that depends only on a seed and the epoch.

`load` loads small datasets by name as arrays (module `arrays`), and `EpochShuffled` makes batches
of them (module `epochs`). `images` reads large datasets with images of different sizes, such as
ImageNet, and crops the images while reading (module `streams`).
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
