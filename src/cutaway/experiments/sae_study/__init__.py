"""`cutaway run sae`: dictionaries of a model's stream, from training to a circuit of features."""
