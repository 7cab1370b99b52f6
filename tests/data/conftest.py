"""Data that is made up, for all names of TensorFlow Datasets."""

import pytest


@pytest.fixture
def mock_data(monkeypatch):
    """Made-up examples of any TensorFlow Dataset, at full image size."""
    tfds = pytest.importorskip("tensorflow_datasets")
    monkeypatch.setattr(tfds.core.DatasetBuilder, "is_prepared", lambda self: True)
    with tfds.testing.mock_data(num_examples=6):
        yield
