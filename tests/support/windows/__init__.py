"""Commands as on Windows: Python starts with this folder first on its path, and takes away what Windows lacks."""
