"""Relays to measure ours against: each written the plain way, each speaking the same messages."""
