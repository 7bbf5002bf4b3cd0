"""Match -> hints: keywords for a film, keypatches for a report (3.2.1, 3.2.2)."""
