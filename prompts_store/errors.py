"""The one error class of this package."""


class StoreError(ValueError):
    """A stored prompt or a store cannot be used; the message says what was wrong, the value, and what to do."""
