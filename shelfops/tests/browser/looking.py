"""What is looked for on every screen: faults of access in both schemes, parts cut off on a phone; and its pictures."""

from pathlib import Path
from typing import Any, Literal

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

from shelfops.tests.browser.screens import DESKTOP, PHONE

GRAVE = ("serious", "critical")
COLOURS = {"runOnly": ["color-contrast", "link-in-text-block"]}  # all that the dark scheme changes
# What a person would press or type into, and cannot: beside the screen, or under something else.
UNREACHABLE = """() => {
    const isForTheKeyboard = (one) => {
        const found = one.closest(".skip, .menu");
        return found && getComputedStyle(found).clipPath !== "none";
    };
    const isShown = (one) => one.checkVisibility({ visibilityProperty: true, opacityProperty: true });
    const isCovered = (one) => {
        one.scrollIntoView({ block: "center", inline: "center", behavior: "instant" });
        const box = [...one.getClientRects()].find((rect) => rect.width > 0 && rect.height > 0);
        if (!box) return false;
        const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
        if (x < 0 || x > innerWidth) return true;
        const found = document.elementFromPoint(x, y);
        return !found || !(one.contains(found) || found.contains(one) || found.closest("label")?.control === one);
    };
    const controls = document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary");
    const wanted = [...controls].filter((one) => isShown(one) && !one.disabled && !isForTheKeyboard(one));
    const found = wanted.filter(isCovered);
    scrollTo(0, 0);
    return found.map((one) => `${one.tagName} ${one.id || one.name || one.textContent.trim().slice(0, 40)}`);
}"""


def look(page: Page, name: str, address: str, pictures: Path | None) -> list[Any]:
    """What is wrong with it, at a desktop in light and dark and on a phone."""
    page.set_viewport_size(DESKTOP)
    page.goto(address)
    wear(page, "light")
    found = [*faults_of_access(page), *_picture(page, pictures, f"{name}-light")]
    wear(page, "dark")
    found += [*faults_of_access(page, COLOURS), *_picture(page, pictures, f"{name}-dark")]
    page.set_viewport_size(PHONE)
    return [*found, *cut_off(page), *_picture(page, pictures, f"phone-{name}")]


def wear(page: Page, scheme: Literal["light", "dark"]) -> None:
    """Changes the colours; the admin's theme looks at the scheme only when it is loaded."""
    page.emulate_media(color_scheme=scheme)
    page.evaluate(
        "isDark => document.querySelector('html[x-data]')?.classList.toggle('dark', isDark)", scheme == "dark"
    )


def faults_of_access(page: Page, options: dict[str, Any] | None = None) -> list[Any]:
    """Serious and critical ones on the whole page, by axe-core."""
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(AXE_SCRIPT)
    asked = {**(options or {}), "resultTypes": ["violations"]}
    found = page.evaluate("options => axe.run(document, options)", asked)["violations"]
    return [
        (fault["id"], node["target"], node.get("failureSummary"))
        for fault in found
        if fault["impact"] in GRAVE
        for node in fault["nodes"]
    ]


def cut_off(page: Page) -> list[str]:
    """Whether the page has to be scrolled sideways, and what a finger cannot reach."""
    width = page.evaluate("document.documentElement.scrollWidth")
    wide = [f"{width} pixels wide"] if width > page.viewport_size["width"] else []
    return wide + page.evaluate(UNREACHABLE)


def _picture(page: Page, pictures: Path | None, name: str) -> list[Any]:
    """Takes it; adds no fault."""
    if pictures:
        page.screenshot(path=pictures / f"{name}.png", full_page=True)
    return []
