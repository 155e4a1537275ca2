"""Catching up."""
