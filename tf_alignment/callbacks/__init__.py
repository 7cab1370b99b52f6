"""Callbacks for `model.fit`: run phases, watch alignment, and survive being killed."""

from tf_alignment.callbacks.feedback import FeedbackCallback
from tf_alignment.callbacks.monitor import AlignmentMonitor
from tf_alignment.callbacks.resume import Resume
from tf_alignment.errors import DivergenceError

__all__ = ["AlignmentMonitor", "DivergenceError", "FeedbackCallback", "Resume"]
