"""The rules, without HTTP: what routes call and tests read."""
