"""`cutaway audit kv`: the bytes that caches, weights and passes hold, and what fits."""
