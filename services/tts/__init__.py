"""The voice: text in, sound out. A program of its own under GPL-3.0-or-later, as Piper is."""
