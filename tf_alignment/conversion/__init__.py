"""Any Keras model: `convert` gives it feedback, `strip` takes it away, `summary` tells."""

from tf_alignment.conversion.exchange import convert, strip
from tf_alignment.conversion.verdict import LayerReport, summary

__all__ = ["LayerReport", "convert", "strip", "summary"]
