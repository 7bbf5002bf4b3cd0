"""The stages, each trained by the one loop; knows no command line."""
