"""The offline proof: a whole call in a network without a way out, every address watched."""
