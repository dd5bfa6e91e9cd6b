// Draws every [data-chart] from its JSON on a canvas. Tooltips are drawn too (richText): HTML ones would need inline
// styles, which the page's content policy forbids.

const COMPACT = new Intl.NumberFormat("en-GB", { notation: "compact", maximumFractionDigits: 1 });
const MICROS = 1e6; // of one currency unit; only for placing points, texts come from the server

const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const placed = (unit, value) => (value === null || unit !== "money" ? value : value / MICROS);

function axisText(unit) {
  if (unit === "share") return (value) => `${+(value * 100).toFixed(2)}%`;
  if (unit === "number") return (value) => `${+value.toFixed(3)}`; // means and shares of clicks: small
  return (value) => COMPACT.format(value);
}

function option(chart) {
  const ink = token("--ink");
  const quiet = token("--quiet");
  const line = token("--line");
  const accent = token("--accent");
  const colours = [accent, token("--sponsored-line"), quiet];
  const isBars = chart.kind === "bars";
  const names = { type: "category", data: chart.labels, axisLine: { lineStyle: { color: line } }, axisTick: { show: false }, axisLabel: { color: quiet, margin: 12 } };
  const values = { type: "value", axisLabel: { color: quiet, formatter: axisText(chart.unit) }, splitLine: { lineStyle: { color: line } }, splitNumber: 4, minInterval: chart.unit === "count" ? 1 : 0, max: chart.unit === "share" ? (found) => (found.max > 0.8 ? 1 : null) : null };
  if (isBars) {
    names.inverse = true;
    names.axisLabel = { color: ink, width: 130, overflow: "truncate" };
  }
  const series = chart.series.map((each, index) => ({
    name: each.name,
    type: isBars ? "bar" : "line",
    data: each.values.map((value) => placed(chart.unit, value)),
    symbol: each.dashed ? "none" : "circle",
    symbolSize: 5,
    showSymbol: chart.labels.length <= 31 && !each.dashed,
    barMaxWidth: 22,
    lineStyle: { width: each.dashed ? 1.5 : 2.25, type: each.dashed ? "dashed" : "solid", color: colours[index % 3] },
    itemStyle: { color: colours[index % 3], borderRadius: isBars ? [0, 4, 4, 0] : 0 },
    areaStyle: index || isBars ? undefined : { opacity: 0.08, color: accent },
    label: isBars ? { show: true, position: "right", color: ink, formatter: (point) => each.texts[point.dataIndex] } : undefined,
    z: index ? 1 : 2,
  }));
  return {
    animation: !matchMedia("(prefers-reduced-motion: reduce)").matches,
    aria: { enabled: true, decal: { show: isBars }, label: { description: `${chart.title}. The table below holds the same figures.` } },
    textStyle: { fontFamily: getComputedStyle(document.body).fontFamily, color: ink },
    grid: { left: 8, right: isBars ? 96 : 16, top: series.length > 1 ? 34 : 14, bottom: 6, containLabel: true },
    legend: series.length > 1 ? { top: 0, left: 0, icon: "roundRect", itemHeight: 3, itemWidth: 18, textStyle: { color: quiet } } : undefined,
    tooltip: {
      trigger: "axis",
      renderMode: "richText",
      confine: true,
      backgroundColor: ink,
      borderWidth: 0,
      textStyle: { color: token("--paper"), fontSize: 13 },
      axisPointer: { type: isBars ? "shadow" : "line", lineStyle: { color: quiet }, shadowStyle: { color: line, opacity: 0.35 } },
      formatter: (points) => [points[0].name, ...points.map((point) => `${point.seriesName}: ${chart.series[point.seriesIndex].texts[point.dataIndex]}`)].join("\n"),
    },
    xAxis: isBars ? values : { ...names, boundaryGap: false },
    yAxis: isBars ? names : values,
    series,
  };
}

async function draw(place) {
  if (place.dataset.begun) return;
  place.dataset.begun = "yes";
  const state = place.querySelector(".chart-state");
  try {
    const answer = await fetch(place.dataset.chart, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(answer.status);
    const chart = await answer.json();
    state.remove();
    const drawing = echarts.init(place, null, { renderer: "canvas" });
    drawing.setOption(option(chart));
    new ResizeObserver(() => drawing.resize()).observe(place);
    document.addEventListener("theme", () => drawing.setOption(option(chart), true));
  } catch {
    state.textContent = "The chart could not be drawn. The table below holds the same figures.";
  }
}

// One after the other, from the top: a phone should not fetch and draw them all at once.
async function drawAll() {
  for (const place of document.querySelectorAll("[data-chart]")) await draw(place);
}
drawAll();
document.addEventListener("htmx:afterSwap", drawAll); // a page that changes by itself may bring one
