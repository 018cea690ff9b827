"""How customers respond to promotions."""
