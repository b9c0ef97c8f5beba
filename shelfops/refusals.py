"""What the product says when it will not do a thing that was asked of it."""


class Refusal(Exception):
    """A rule or an input forbids it; the message is one line that tells the person what to do."""
