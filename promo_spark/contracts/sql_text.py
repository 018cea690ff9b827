"""Names and texts as SQL writes them, whatever is in them."""

from __future__ import annotations


def quoted(name: str) -> str:
    """An identifier.

    >>> quoted("a`; DROP")
    '`a``; DROP`'
    """
    return f"`{name.replace('`', '``')}`"


def literal(text: str) -> str:
    r"""A string literal.

    >>> print(literal("the retailer's \\ day"))
    'the retailer\'s \\ day'
    """
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
