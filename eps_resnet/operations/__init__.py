"""Planning, scheduling, checking."""
