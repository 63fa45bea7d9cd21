"""Text as data: tokenizers, corpora and chunks of token ids, with the masks, positions and caches that go in beside."""
