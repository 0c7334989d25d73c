"""`cutaway run emergence`: how a circuit forms while a model is trained."""
