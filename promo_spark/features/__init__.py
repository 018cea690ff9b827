"""Customers, products and promotions as of a date."""
