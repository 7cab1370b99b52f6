"""Any Keras model: `convert` gives it feedback, `strip` takes it away, `summary` tells."""

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
