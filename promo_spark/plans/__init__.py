"""From effects to decisions under a budget."""
