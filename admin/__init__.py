"""Everything a person or a webhook looks at, beside the calls: a Quart-Trio app."""
