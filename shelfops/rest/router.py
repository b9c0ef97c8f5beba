"""Paths as the specification writes them, without a trailing slash; with one works too."""

from rest_framework.routers import SimpleRouter


class Router(SimpleRouter):
    """Registers view sets under `/prefix` and `/prefix/` alike."""

    def __init__(self) -> None:
        super().__init__(trailing_slash=False)
        self.trailing_slash = "/?"
