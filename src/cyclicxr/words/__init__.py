"""Report -> words: the text encoder and its tokenizer; knows no pixels."""
