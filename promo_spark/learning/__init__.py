"""How the system changes itself: settings that were tried, and those that did better."""
