"""Input-level methods: each is its tensors and its function from token embeddings to input embeddings."""
