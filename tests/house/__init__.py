"""What holds for the whole house: architecture, pages, packages, examples."""
