"""Conversion of Keras models: `convert` adds feedback weights, `strip` removes them.

`summary` lists the method of each layer and says whether weight transport remains.
"""

from tf_alignment.conversion.exchange import convert, strip
from tf_alignment.conversion.files import load_model
from tf_alignment.conversion.fused import fuse_batch_normalization, unfuse_batch_normalization
from tf_alignment.conversion.verdict import LayerReport, summary

__all__ = [
    "LayerReport",
    "convert",
    "fuse_batch_normalization",
    "load_model",
    "strip",
    "summary",
    "unfuse_batch_normalization",
]
