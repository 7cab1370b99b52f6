"""Feedback methods: which weights carry the error back, and how these weights learn.

Each method is one class with one string id. `get` turns an id, a long name, a class, a config or an
object into an object. A subclass of `Feedback` is a new method.
"""

from __future__ import annotations

import difflib
from typing import Any

import keras

from tf_alignment.feedback.alignment import Alignment
from tf_alignment.feedback.base import Activity, Backward, Feedback, Setup
from tf_alignment.feedback.direct import DirectFeedback
from tf_alignment.feedback.eligibility import (
    EligibilityPropagation,
    RandomFeedbackLocalOnline,
)
from tf_alignment.feedback.error_driven import KolenPollack, ProductFeedback
from tf_alignment.feedback.fixed import (
    Backprop,
    BatchRandomSignSymmetry,
    FeedbackAlignment,
    FixedRandomSignSymmetry,
    SignSymmetry,
)
from tf_alignment.feedback.imperfect import Imperfect
from tf_alignment.feedback.rules import (
    ActivationAlignment,
    InformationAlignment,
    SymmetricAlignment,
    WeightMirror,
)

__all__ = [
    "LONG_NAMES",
    "METHODS",
    "RECURRENT_METHODS",
    "ActivationAlignment",
    "Activity",
    "Alignment",
    "Backprop",
    "Backward",
    "BatchRandomSignSymmetry",
    "DirectFeedback",
    "EligibilityPropagation",
    "Feedback",
    "FeedbackAlignment",
    "FixedRandomSignSymmetry",
    "Imperfect",
    "InformationAlignment",
    "KolenPollack",
    "ProductFeedback",
    "RandomFeedbackLocalOnline",
    "Setup",
    "SignSymmetry",
    "SymmetricAlignment",
    "WeightMirror",
    "get",
]

_FACTORIES: dict[str, Any] = {
    "backprop": Backprop,
    "fa": FeedbackAlignment,
    "dfa": DirectFeedback,
    "usf": SignSymmetry,
    "brsf": BatchRandomSignSymmetry,
    "frsf": FixedRandomSignSymmetry,
    "kp": KolenPollack,
    "wm": WeightMirror,
    "ia": InformationAlignment,
    "sa": SymmetricAlignment,
    "aa": ActivationAlignment,
    "pfa": ProductFeedback,
    "pfa_o": lambda: ProductFeedback(orthogonal=True),
}
METHODS: tuple[str, ...] = tuple(_FACTORIES)
"""String ids of all methods, in the order in which tables list them."""
_RECURRENT: dict[str, Any] = {"eprop": EligibilityPropagation, "rflo": RandomFeedbackLocalOnline}
RECURRENT_METHODS: tuple[str, ...] = tuple(_RECURRENT)
"""String ids of the methods that belong to recurrent layers alone."""
LONG_NAMES: dict[str, str] = {
    "backpropagation": "backprop",
    "feedback_alignment": "fa",
    "direct_feedback_alignment": "dfa",
    "uniform_sign_symmetry": "usf",
    "batch_random_sign_symmetry": "brsf",
    "fixed_random_sign_symmetry": "frsf",
    "kolen_pollack": "kp",
    "weight_mirror": "wm",
    "information_alignment": "ia",
    "symmetric_alignment": "sa",
    "activation_alignment": "aa",
    "product_feedback_alignment": "pfa",
    "orthogonal_product_feedback_alignment": "pfa_o",
    "eligibility_propagation": "eprop",
    "random_feedback_local_online": "rflo",
}
"""Long names of the methods, which may be used in place of the ids."""


def _letters(name: str) -> str:
    """Name in lower case with underscores for hyphens and spaces: `"PFA-o"` is `"pfa_o"`."""
    return "".join(c for c in name.lower() if c.isalnum())


_BY_LETTERS = {_letters(name): name for name in (*METHODS, *RECURRENT_METHODS)} | {
    _letters(name): method for name, method in LONG_NAMES.items()
}


def _by_name(name: str) -> Feedback:
    letters = _letters(name)
    if letters in _BY_LETTERS:
        return (_FACTORIES | _RECURRENT)[_BY_LETTERS[letters]]()
    near = difflib.get_close_matches(letters, _BY_LETTERS, 1, 0.6)
    meant = f" Did you mean {_BY_LETTERS[near[0]]!r}?" if near else ""
    raise ValueError(
        f"Argument `feedback` must be one of {list(METHODS)}, in recurrent layers also of "
        f"{list(RECURRENT_METHODS)}, one of their long names ({', '.join(LONG_NAMES)}), a "
        f"`Feedback` object or None.{meant} "
        f"Received: feedback={name!r}"
    )


def get(identifier: Any) -> Feedback | None:
    """Turn an identifier into a feedback method.

    Args:
        identifier: `None` (the stock layer), a string id from `METHODS` or `RECURRENT_METHODS`, a
            long name from `LONG_NAMES` (case, hyphens and underscores do not matter), a `Feedback`
            object or class, or the config of a `Feedback` object.

    Returns:
        `Feedback` object, or `None` for `None`.

    Raises:
        ValueError: If the string is no known name; the message lists the names, and suggests the
            nearest one.
        TypeError: If the identifier is of another type.

    Example:
    >>> import tf_alignment as ta
    >>> ta.feedback.get("sa")
    SymmetricAlignment(alpha=2.0, beta=2.0)
    >>> ta.feedback.get("Kolen-Pollack")
    KolenPollack()
    """
    if identifier is None or isinstance(identifier, Feedback):
        return identifier
    if isinstance(identifier, type) and issubclass(identifier, Feedback):
        return identifier()
    if isinstance(identifier, str):
        return _by_name(identifier)
    if isinstance(identifier, dict):
        method = keras.saving.deserialize_keras_object(identifier)
        if isinstance(method, Feedback):
            return method
    raise TypeError(
        f"Argument `feedback` must be one of {list(METHODS)}, in recurrent layers also of "
        f"{list(RECURRENT_METHODS)}, a `Feedback` object, its config or None. "
        f"Received: feedback={identifier!r} (of type {type(identifier).__name__})"
    )
