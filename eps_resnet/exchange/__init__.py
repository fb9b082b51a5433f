"""Results and runs taken over from others."""
