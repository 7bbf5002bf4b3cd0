"""Scores of reports, films, retrieval and findings, each with its interval; knows no model and reads no study."""
