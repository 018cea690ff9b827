"""The form in which received records travel from the reader to the mapping.

A frame of records holds one row per record of the input files: the struct ``record`` with the
vendor's columns under the vendor's own names, and the columns below that say where the record came from.
"""

RECORD = "record"
"""Struct of the vendor's columns."""

RAW_TEXT = "raw_text"
"""The record as received: the line of text, or the row as JSON. Personal."""

MALFORMED = "is_malformed"
"""The line could not be split into the header's columns; its values are not to be trusted."""

RAW_CUSTOMER_ID = "raw_customer_id"
"""The retailer's own customer id, beside the mapped columns; it never enters bronze. Personal."""

ORIGIN = ("source_file", "source_file_hash", "source_ordinal")
"""Name of the file relative to the source, SHA-256 of its content, position in it from 1."""
