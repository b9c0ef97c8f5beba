"""How a person without a mouse gets somewhere."""

import pytest
from playwright.sync_api import Page


def tab_to(page: Page, selector: str, most: int = 120) -> None:
    """Goes on with the Tab key until the element has the focus."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate("wanted => document.activeElement.matches(wanted)", selector):
            return
    pytest.fail(f"{selector} cannot be reached with the Tab key")
