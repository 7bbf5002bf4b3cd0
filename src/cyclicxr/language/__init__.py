"""Prompt -> ids: the language model over one vocabulary (Eqs. 10-11); knows ids, never pixels."""
