"""How stages join: one module per job."""
