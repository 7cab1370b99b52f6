"""Write the file of digits that is part of the package, from the copy in scikit-learn.

    python tools/digits.py

The digits are the test set of the "Optical Recognition of Handwritten Digits" of the UCI Machine
Learning Repository (Alpaydin & Kaynak 1998, https://doi.org/10.24432/C50P49, CC BY 4.0), which
scikit-learn ships as `load_digits`: 1797 images of 8x8 grey levels from 0 to 16. A fifth of each
class is for testing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

TARGET = Path(__file__).parents[1] / "tf_alignment" / "data" / "digits.npz"


def digits() -> dict[str, np.ndarray]:
    """Return the images, `(n, 8, 8)`, and the labels, `(n,)`, of both splits, as uint8."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    x = x.reshape(-1, 8, 8).astype(np.uint8)
    x_train, x_test, y_train, y_test = train_test_split(
        x, y.astype(np.uint8), test_size=0.2, stratify=y, random_state=0
    )
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}


if __name__ == "__main__":
    arrays: dict[str, Any] = digits()
    np.savez_compressed(TARGET, **arrays)
