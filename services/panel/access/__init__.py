"""Who asks, and what they may do."""

from services.panel.access.principal import Principal, Scope, principal_of

__all__ = ["Principal", "Scope", "principal_of"]
