"""Our relay beside others: what is measured of them, part by part, and how that is told."""
