"""Planning and checking: plan, why, verify, attest; the working folder; generated files."""
