"""The `luohu` command."""
