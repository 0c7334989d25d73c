"""`cutaway circuit discover`, `evaluate`, `compare` and `draw`: circuits from the command line."""
