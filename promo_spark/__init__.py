"""Decide which customer gets which promotion, when and how deep, and measure what it was worth."""

__version__ = "0.1.0"
