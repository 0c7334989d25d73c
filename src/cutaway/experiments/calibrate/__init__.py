"""`cutaway calibrate`: every discovery method on every model whose circuit is known."""
