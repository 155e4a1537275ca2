"""The rules, each obeyed and broken."""
