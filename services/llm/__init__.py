"""The language model: a conversation in, the next words out."""
