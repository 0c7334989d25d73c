"""`cutaway attention "TEXT"`: where the heads of a model look on a text of one's own."""
