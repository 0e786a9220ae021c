"""The composition root and the `tautline` command: the one place where relay and admin meet."""
