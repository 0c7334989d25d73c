"""`cutaway probe`: what linear probes read, beside their controls, and whether it is used."""
