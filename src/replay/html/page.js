// Reads out single steps of the pictures of requests over time, by the pointer or by the arrow keys.

const whole = new Intl.NumberFormat("en");

const time = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " ");

function told({ begin, length, steps }, at) {
  const [admitted, denied, spread] = steps[at].map((number) => whole.format(number));
  const other = spread === undefined || spread === denied ? "" : `, ${spread} if spread`;
  return `${time(begin + at * length)} UTC: ${admitted} admitted, ${denied} denied${other}`;
}

function readOut(plot) {
  const output = plot.parentElement.querySelector("[data-reads-out]");
  const steps = plot.dataset.steps.split(" ").map((step) => step.split(",").map(Number));
  if (!output || plot.dataset.steps === "") return;
  const data = { begin: Number(plot.dataset.begin), length: Number(plot.dataset.step), steps };
  const before = output.textContent;
  const cursor = document.createElementNS(plot.namespaceURI, "line");
  const base = plot.querySelectorAll(".base");
  const set = (names) => Object.entries(names).forEach(([name, value]) => cursor.setAttribute(name, value));
  set({ class: "cursor", y1: 20, y2: base[base.length - 1].getAttribute("y1") });
  let pointed = null;

  function point(at) {
    pointed = at === null ? null : Math.min(steps.length - 1, Math.max(0, at));
    output.textContent = pointed === null ? before : told(data, pointed);
    if (pointed === null) return cursor.remove();
    const x = `${(100 * (pointed + 0.5)) / steps.length}%`;
    set({ x1: x, x2: x });
    plot.append(cursor);
  }

  output.setAttribute("aria-live", "polite");
  plot.setAttribute("tabindex", 0);
  plot.querySelector("desc").append(" Left and right arrow keys read out single steps.");
  plot.addEventListener("pointermove", (event) => {
    const { left, width } = plot.getBoundingClientRect();
    point(Math.floor(((event.clientX - left) / width) * steps.length));
  });
  plot.addEventListener("pointerleave", () => point(null));
  plot.addEventListener("blur", () => point(null));
  plot.addEventListener("keydown", (event) => {
    const last = steps.length - 1;
    const next = { ArrowLeft: (pointed ?? last + 1) - 1, ArrowRight: (pointed ?? -1) + 1, Home: 0, End: last }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    point(next);
  });
}

document.querySelectorAll(".plot[data-steps]").forEach(readOut);
