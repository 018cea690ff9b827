"""What happened, against what was said."""
