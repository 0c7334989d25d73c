"""The study of indirect object identification; `settings` loads without torch."""
