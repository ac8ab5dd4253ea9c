"""Data understanding: what the tables hold, what is wrong in them, and what knows too much."""
