"""What every answer owes: who asked is known, its headers are safe, it is no larger than it need be, it is logged.

Each module adds one thing to the app; none knows a route.
"""
