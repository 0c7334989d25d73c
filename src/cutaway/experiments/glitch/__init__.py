"""`cutaway glitch`: undertrained tokens found, verified, and traced through the layers."""
