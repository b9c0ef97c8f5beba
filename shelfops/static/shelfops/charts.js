// Draws every figure of class "plot" from the JSON beside it. Without this script the table of the same numbers stands open.
(() => {
    "use strict";

    // Dash and point tell lines apart where colours do not.
    const LOOKS = {
        own: { colour: "--chart-own", dash: [], point: "circle" },
        other: { colour: "--chart-other", dash: [7, 4], point: "rect" },
        naive: { colour: "--chart-naive", dash: [2, 3], point: "triangle" },
        level: { colour: "--chart-level", dash: [10, 4], point: false },
        limit: { colour: "--chart-limit", dash: [4, 4], point: false },
    };
    const BAR = 28; // pixels, at most
    const drawn = new Map();

    // The browser resolves the theme's variables; a canvas cannot.
    function painter(figure) {
        const probe = figure.appendChild(document.createElement("span"));
        const resolve = (name) => {
            probe.style.color = `var(${name})`;
            return getComputedStyle(probe).color;
        };
        return { resolve, done: () => probe.remove() };
    }

    // Bars of one label stand side by side, however much room there is.
    function together(chart, { kind, labels, lines }) {
        const length = (kind === "rows" ? chart.height : chart.width) || 1;
        return Math.min(0.8, ((BAR + 4) * lines.length * labels.length) / length);
    }

    function dataset(line, data, resolve) {
        const look = LOOKS[line.tone];
        const colour = resolve(look.colour);
        const isLine = data.kind === "line" || !look.point;
        return {
            type: isLine ? "line" : "bar",
            label: line.name,
            data: line.values,
            borderColor: colour,
            backgroundColor: colour,
            borderDash: look.dash,
            borderWidth: isLine ? 2 : 0,
            borderRadius: 3,
            maxBarThickness: BAR,
            categoryPercentage: ({ chart }) => together(chart, data),
            pointStyle: look.point,
            pointRadius: line.values.length > 31 ? 0 : 3,
            pointHitRadius: 10,
            tension: 0,
        };
    }

    function options(data, quiet, grid) {
        const values = { beginAtZero: data.kind !== "line", title: { display: true, text: data.unit, color: quiet }, ticks: { color: quiet }, grid: { color: grid } };
        const labels = { ticks: { color: quiet, maxRotation: 0, autoSkipPadding: 12, autoSkip: data.kind !== "rows" }, grid: { display: false } };
        return {
            animation: false,
            maintainAspectRatio: false,
            indexAxis: data.kind === "rows" ? "y" : "x",
            interaction: { mode: "index", intersect: false },
            plugins: { legend: { display: data.lines.length > 1, position: "bottom", labels: { color: quiet, boxWidth: 32, boxHeight: data.kind === "line" ? 0 : 10 } } },
            scales: data.kind === "rows" ? { x: values, y: labels } : { x: labels, y: values },
        };
    }

    function draw(figure) {
        const data = JSON.parse(document.getElementById(figure.dataset.plot).textContent);
        const { resolve, done } = painter(figure);
        drawn.get(figure)?.destroy();
        figure.classList.add("drawn");
        drawn.set(figure, new Chart(figure.querySelector("canvas"), {
            data: { labels: data.labels, datasets: data.lines.map((line) => dataset(line, data, resolve)) },
            options: options(data, resolve("--quiet"), resolve("--line")),
            type: data.kind === "line" ? "line" : "bar",
        }));
        done();
    }

    function drawAll() {
        document.querySelectorAll("figure.plot").forEach(draw);
    }

    document.addEventListener("DOMContentLoaded", () => {
        document.querySelectorAll("figure.plot > details").forEach((table) => { table.open = false; });
        drawAll();
        matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
        new MutationObserver(drawAll).observe(document.documentElement, { attributeFilter: ["class"] });
    });
})();
