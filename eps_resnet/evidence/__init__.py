"""Results beside the paper: tables, figures, claims, the report."""
