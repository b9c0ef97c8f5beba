// Keeps the badge of open alerts up to date and its list closable by Escape. Without this script it opens all the same.
(() => {
    "use strict";

    const EVERY_MS = 30_000;

    function withToken(menu) {
        const token = menu.querySelector("template").content.querySelector("input");
        menu.querySelectorAll(".alerts-list form").forEach((form) => {
            if (token && !form.elements.csrfmiddlewaretoken) form.append(token.cloneNode());
            form.elements.next.value = location.pathname + location.search;
        });
    }

    function show(menu, { words, tone, html }) {
        const [details, badge, said] = ["details", "summary", "[role=status]"].map((what) => menu.querySelector(what));
        if (badge.textContent !== words) {
            badge.textContent = words;
            badge.className = `badge ${tone}`;
            said.textContent = words;
        }
        if (details.open) return; // nobody's reading or writing is taken away
        menu.querySelector(".alerts-list").innerHTML = html;
        withToken(menu);
    }

    function keep(menu) {
        let etag = "";
        async function ask() {
            if (document.hidden) return;
            const headers = etag ? { "If-None-Match": etag } : {};
            const answer = await fetch(menu.dataset.menu, { headers, cache: "no-store", redirect: "error" });
            if (answer.status !== 200) return;
            etag = menu.querySelector("details").open ? "" : answer.headers.get("ETag");
            show(menu, await answer.json());
        }
        const quietly = () => ask().catch(() => {}); // the site is down or the login has ended: the page stays as it is
        setInterval(quietly, EVERY_MS);
        document.addEventListener("visibilitychange", quietly);
    }

    function closable(menu) {
        const details = menu.querySelector("details");
        menu.addEventListener("keydown", (event) => {
            if (event.key !== "Escape" || !details.open) return;
            details.open = false;
            details.querySelector("summary").focus();
        });
        document.addEventListener("click", (event) => {
            if (!menu.contains(event.target)) details.open = false;
        });
    }

    document.addEventListener("DOMContentLoaded", () => {
        document.querySelectorAll("[data-menu]").forEach((menu) => {
            keep(menu);
            closable(menu);
        });
    });
})();
