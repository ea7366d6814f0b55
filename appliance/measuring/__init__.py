"""How fast a box answers: synthetic callers over real WebRTC, and what is made of their figures."""
