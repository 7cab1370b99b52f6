"""Any Keras model: `convert` gives it feedback, `strip` takes it away, `summary` tells."""

from tf_alignment.conversion.exchange import LayerReport, convert, strip, summary

__all__ = ["LayerReport", "convert", "strip", "summary"]
