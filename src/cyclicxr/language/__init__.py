"""Prompt to ids: reports and films as one language."""
