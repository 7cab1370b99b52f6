"""Version of the package and its address. Nothing is imported, so that setup.py can read it."""

__version__ = "0.2.0"

URL = ""
"""Of the repository; empty before it is public. Links of README on an index, and of notebooks."""
