"""Kvasir's libraries for Python: kvasir.attention."""

__version__ = "0.1.0"
