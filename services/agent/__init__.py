"""The voice: LiveKit on one side, the three model services on the other."""
