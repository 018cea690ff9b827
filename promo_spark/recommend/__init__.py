"""Which products suit which customer."""
