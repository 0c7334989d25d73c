"""Training small models: their text, their recipes, the loop."""
