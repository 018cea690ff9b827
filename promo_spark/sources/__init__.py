"""Vendor data to bronze: the only place where a vendor's field names appear."""
