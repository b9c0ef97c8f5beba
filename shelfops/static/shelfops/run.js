// Keeps the page of a run up to date until the run has ended. Where scripts are off, the page reloads itself instead.
(() => {
    "use strict";

    async function ask(main) {
        const answer = await fetch(location.href, { cache: "no-store", redirect: "error" });
        if (!answer.ok) return true;
        const found = new DOMParser().parseFromString(await answer.text(), "text/html");
        const now = found.querySelector("main");
        const holdsFocus = main.contains(document.activeElement); // nobody's place is taken away
        if (!holdsFocus && now.innerHTML !== main.innerHTML) main.replaceChildren(...now.childNodes);
        document.title = found.title;
        return holdsFocus || Boolean(found.querySelector("[data-again-after]"));
    }

    document.addEventListener("DOMContentLoaded", () => {
        const main = document.querySelector("main");
        const every = Number(document.querySelector("[data-again-after]")?.dataset.againAfter);
        if (!every) return;
        const later = () => setTimeout(async () => {
            const goesOn = document.hidden || (await ask(main).catch(() => true)); // the site is down: it may come back
            if (goesOn) later();
        }, every * 1000);
        later();
    });
})();
