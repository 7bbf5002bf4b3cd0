"""Files in: films, reports and studies tables, checked where they enter; knows no model."""
