"""Who is erased, how they are told at the door, and how pseudonyms change: pure steps."""
