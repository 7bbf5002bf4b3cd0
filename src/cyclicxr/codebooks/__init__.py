"""What the match knows, as hints for the language model: keywords found on a film, keypatches found for a report."""
