// The ranking under other settings, from the curves that the page carries; the same arithmetic as whatif.py, whose tests compare
// the two. The settings stand in the address, so that a link shows what its sender saw.
"use strict";
(function () {
  const model = JSON.parse(document.getElementById("model").textContent);
  const form = document.getElementById("controls");
  if (!form) return;
  const DASH = "–";
  const Z = 1.959963984540054;
  const MOST = 100000;

  // How figures are written: reports/text.py.
  const magnitude = (value) => Math.floor(Math.log10(Math.abs(value)));
  function decimals(value, low, high) {
    const own = value ? magnitude(value) : 0;
    if (low === null || high === null || high <= low) return 2 - own;
    const half = (high - low) / 2;
    const shown = -magnitude(half) + (half < 3 * 10 ** magnitude(half) ? 1 : 0);
    return Math.min(Math.max(shown, 1 - own), 3 - own);
  }
  function fixed(value, places) {
    if (!value) return "0";
    if (Math.abs(value) < 1e-4 || Math.abs(value) >= 1e9) {
      const [mantissa, exponent] = value.toExponential(1).split("e");
      return mantissa + "×10" + [...String(Number(exponent))].map((digit) => (digit === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit])).join("");
    }
    const scale = 10 ** places;
    if (Math.round(Math.abs(value) * scale) === 0) places = -magnitude(value);
    const unit = 10 ** Math.max(-places, 0);
    const digits = Math.max(places, 0);
    const whole = Number(even(value / unit, digits)) * unit;
    return whole.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  }
  // As Python rounds: an exact half goes to the even digit, where toFixed takes the larger.
  function even(value, digits) {
    const said = value.toFixed(digits);
    const half = /^50*$/.test(value.toFixed(digits + 40).slice(-40));
    return half && Number(said.slice(-1)) % 2 ? (Number(said) - 10 ** -digits).toFixed(digits) : said;
  }
  function money(value, low, high) {
    const places = decimals(value, low, high);
    return Math.abs(value) >= 1 && Math.abs(value) < 100 ? Math.max(places, 2) : Math.abs(value) >= 100 ? 0 : places;
  }
  function written([value, low, high], usd) {
    if (value === null) return [DASH, null];
    const places = (usd ? money : decimals)(value, low, high);
    const end = (one) => (one === null ? "?" : fixed(one, places));
    const span = low === null && high === null ? null : end(low) + DASH + end(high);
    return [(usd ? "$" : "") + fixed(value, places), span && (usd ? "$" : "") + span];
  }
  const plain = (value, usd) => (value === null ? DASH : written([value, null, null], usd)[0]);
  function percent(share) {
    if (share === null) return DASH;
    if (share === 0 || share === 1) return share * 100 + " %";
    if (share > 0.995 && share < 1) return ">" + (share < 0.999 ? 99 : 99.9) + " %";
    return (share >= 0.1 ? (share * 100).toFixed(0) : String(Number((share * 100).toPrecision(2)))) + " %";
  }
  const label = (quantile) => "p" + Number((quantile * 100).toPrecision(6));

  // The capacity over the limit: reports/curves.py.
  function capacity(curves, quantile, limit) {
    const found = curves[label(quantile)];
    const none = (reason) => ({ ends: [null, null, null], reason });
    if (!found || !found.limit_ms.length) return none("the result holds no curve for " + label(quantile));
    const limits = found.limit_ms;
    let above = limits.findIndex((one) => one >= limit);
    if (above < 0) above = limits.length - 1;
    const below = limits[above] <= limit ? above : above - 1;
    if (below < 0 || found.value[below] === null || found.value[above] === null) {
      return none("no rate is known to meet " + label(quantile) + "<" + Number(limit.toPrecision(6)) + "ms");
    }
    const share = below === above ? 0 : Math.log(limit / limits[below]) / Math.log(limits[above] / limits[below]);
    const between = (column) => {
      if (below === above) return column[below];
      return column[below] && column[above] ? column[below] * (column[above] / column[below]) ** share : null;
    };
    return { ends: [between(found.value), between(found.low), between(found.high)], reason: null };
  }
  function lowest(found) {
    const never = found.find((one) => one.ends[0] === null);
    if (never) return never;
    const least = (at) => found.map((one) => one.ends[at]).filter((end) => end !== null).reduce((a, b) => (a === null || b < a ? b : a), null);
    return { ends: [least(0), least(1), least(2)], reason: null };
  }
  function latency(curves, quantile, rate) {
    const found = curves[label(quantile)];
    if (!found || !(rate > 0)) return null;
    const points = found.limit_ms.map((limit, at) => [limit, found.value[at]]).filter(([, value]) => value);
    for (let at = 0; at + 1 < points.length; at++) {
      const [[short, few], [long, many]] = [points[at], points[at + 1]];
      if (few <= rate && rate <= many) return short * (long / short) ** (many === few ? 0 : Math.log(rate / few) / Math.log(many / few));
    }
    return null;
  }

  // Fleets and costs: reports/whatif.py.
  const count = (demand, each) => {
    if (!(each > 0)) return null;
    const needed = Math.max(1, Math.ceil(Number((demand / each).toFixed(9))));
    return needed <= MOST ? needed : null;
  };
  const month = (price, instances) => (price === null || instances === null ? null : price * instances * model.hours_per_month);
  const million = (price, rate) => (price === null || !rate ? null : (price / (rate * 3600)) * 1e6);

  function line(row, set) {
    let found = { ends: row.capacity, reason: row.capacity[0] === null ? row.capacity_reason : null };
    if (!sameLimits(set.limits, model.limits)) {
      const has = Object.keys(row.curves).length > 0;
      found = has ? lowest(set.limits.map(([quantile, limit]) => capacity(row.curves, quantile, limit))) : { ends: [null, null, null], reason: row.curve_reason };
    }
    const [value, low, high] = found.ends;
    const given = set.prices[row.instance];
    const price = given !== undefined ? given : set.basis === "spot" ? row.spot_usd_per_hour : row.usd_per_hour;
    const instances = set.demand === null ? null : count(set.demand, (low || 0) * set.share);
    const reason = row.may_rank && value === null ? found.reason : row.reason;
    return {
      row, price, instances, capacity: found.ends, rank: null, tied: false, best: null,
      reason: reason || "the result gives no reason",
      cost: value === null ? [null, null, null] : [million(price, value), million(price, high), million(price, low)],
      month: month(price, instances),
      safe: month(price, instances === null ? null : instances + 1),
      latency: instances === null || !set.limits.length ? null : latency(row.curves, set.limits[0][0], set.demand / instances),
    };
  }

  // The ranking: harness/ranking.py.
  function logError([value, low, high]) {
    const known = [low ? Math.log(value / low) : null, high ? Math.log(high / value) : null].filter((half) => half !== null);
    return value && known.length ? Math.max(0, known.reduce((a, b) => a + b) / known.length) / Z : null;
  }
  function commonQuantile(lines) {
    const held = lines.map((one) => Object.keys(one.row.latency)).filter((names) => names.length);
    const shared = held.length ? held[0].filter((name) => held.every((names) => names.includes(name))) : [];
    return shared.sort((a, b) => Number(b.slice(1)) - Number(a.slice(1)))[0];
  }
  function figure(one, set, quantile) {
    if (set.objective === "cost") return one.cost;
    if (set.objective === "throughput") return one.capacity;
    if (set.objective === "latency") return (quantile && one.row.latency[quantile]) || [null, null, null];
    if (one.month === null) return [null, null, null];
    const fewest = count(set.demand, (one.capacity[2] || one.capacity[1] || 0) * set.share);
    return [one.month, month(one.price, fewest), one.month];
  }
  const WITHOUT = {
    cost: "no price is known for the instance",
    throughput: "the capacity is not known",
    latency: "no latency at the reference rate to compare",
    month: "no demand is set, or no price or number of instances is known",
  };
  function rank(lines, set) {
    const able = lines.filter((one) => one.row.may_rank && one.capacity[0] !== null);
    const quantile = commonQuantile(able);
    const rated = [];
    for (const one of able) {
      const found = figure(one, set, quantile);
      const error = found[0] > 0 ? logError(found) : null;
      if (error === null) one.reason = found[0] === null ? WITHOUT[set.objective] : "its figure has no interval";
      else rated.push({ one, log: Math.log(found[0]) * (set.objective === "throughput" ? -1 : 1), error: Math.hypot(error, one.row.log_sd / Math.sqrt(one.row.starts)) });
    }
    rated.sort((a, b) => a.log - b.log || lines.indexOf(a.one) - lines.indexOf(b.one));
    chances(rated);
    const ties = (a, b) => Math.abs(a.log - b.log) <= Z * Math.hypot(a.error, b.error) || Math.abs(a.log - b.log) < Math.log(model.tie_ratio);
    const placed = [];
    for (let rest = rated; rest.length; ) {
      const group = rest.filter((each) => ties(rest[0], each));
      const before = placed.length;
      for (const each of group) placed.push(Object.assign(each.one, { rank: before + 1, tied: group.length > 1, reason: null }));
      rest = rest.filter((each) => !group.includes(each));
    }
    return placed.concat(lines.filter((one) => one.rank === null));
  }
  // The chance that each has the smallest of independent normal logarithms, by integration; equals share it.
  function chances(rated) {
    for (const own of rated) {
      const width = Math.max(own.error, 1e-6);
      let sum = 0;
      for (let z = -6; z <= 6; z += 0.01) {
        let beats = Math.exp((-z * z) / 2);
        for (const other of rated) if (other !== own) beats *= normal((other.log - own.log - width * z) / Math.max(other.error, 1e-6));
        sum += beats;
      }
      own.one.best = (sum * 0.01) / Math.sqrt(2 * Math.PI);
    }
  }
  // Abramowitz and Stegun 7.1.26: within 1.5e-7.
  function normal(z) {
    const x = Math.abs(z) / Math.SQRT2;
    const t = 1 / (1 + 0.3275911 * x);
    const tail = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t * Math.exp(-x * x);
    return z >= 0 ? 1 - tail / 2 : tail / 2;
  }

  const sameLimits = (a, b) => JSON.stringify(a) === JSON.stringify(b);
  const unchanged = (set) => sameLimits(set.limits, model.limits) && set.objective === model.objective && set.basis === "stated" && !Object.keys(set.prices).length;
  function outcome(set) {
    const lines = model.rows.map((row) => line(row, set));
    if (!unchanged(set)) return rank(lines, set);
    const stored = lines.filter((one) => one.row.status === "ranked").sort((a, b) => (a.row.rank || 1e9) - (b.row.rank || 1e9));
    for (const one of stored) {
      one.rank = one.row.rank;
      one.best = one.row.probability_best;
      one.tied = one.row.tie_group !== null && stored.filter((other) => other.row.tie_group === one.row.tie_group).length > 1;
      if (one.rank !== null) one.reason = null;
    }
    const placed = stored.concat(lines.filter((one) => one.row.status !== "ranked"));
    return placed.filter((one) => one.rank !== null).concat(placed.filter((one) => one.rank === null));
  }

  // Settings: in the controls, and in the address as far as they differ from the run's.
  const own = () => ({ limits: model.limits.map((limit) => [...limit]), objective: model.objective, demand: model.demand_per_s, share: 1, basis: "stated", prices: {} });
  const amount = (text) => (text !== "" && Number.isFinite(Number(text)) && Number(text) > 0 ? Number(text) : null);
  function fromControls() {
    const set = own();
    set.limits = set.limits.map(([quantile, limit], at) => {
      const chosen = form.elements["quantile-" + at];
      return [Number(chosen.value), amount(form.elements["limit-" + at].value) || limit];
    });
    set.objective = form.elements.objective.value;
    set.demand = amount(form.elements.demand.value);
    set.share = Math.min(1, (amount(form.elements.share.value) || 100) / 100);
    set.basis = form.elements.basis.value;
    for (const input of form.querySelectorAll("input[data-instance]")) {
      if (input.value !== "" && Number(input.value) >= 0) set.prices[input.dataset.instance] = Number(input.value);
    }
    return set;
  }
  function toControls(set) {
    set.limits.forEach(([quantile, limit], at) => {
      form.elements["quantile-" + at].value = String(quantile);
      form.elements["limit-" + at].value = limit;
    });
    form.elements.objective.value = set.objective;
    form.elements.demand.value = set.demand === null ? "" : set.demand;
    form.elements.share.value = Number((set.share * 100).toPrecision(6));
    form.elements.basis.value = set.basis;
    for (const input of form.querySelectorAll("input[data-instance]")) {
      const given = set.prices[input.dataset.instance];
      input.value = given === undefined ? "" : given;
    }
  }
  function toAddress(set) {
    const said = new URLSearchParams();
    if (!sameLimits(set.limits, model.limits)) said.set("slo", set.limits.map(([quantile, limit]) => label(quantile) + ":" + limit).join(","));
    if (set.objective !== model.objective) said.set("objective", set.objective);
    if (set.demand !== model.demand_per_s) said.set("demand", set.demand === null ? "" : set.demand);
    if (set.share !== 1) said.set("share", set.share);
    if (set.basis !== "stated") said.set("basis", set.basis);
    for (const [name, price] of Object.entries(set.prices)) said.append("price", name + "=" + price);
    return said.toString();
  }
  function fromAddress(address) {
    const set = own();
    const said = new URLSearchParams(address);
    const known = form.elements["quantile-0"] ? Array.from(form.elements["quantile-0"].options, (one) => Number(one.value)) : [];
    const limits = (said.get("slo") || "").split(",").map((one) => one.split(":")).map(([name, limit]) => [known.find((one) => label(one) === name), amount(limit || "")]);
    if (limits.length === set.limits.length && limits.every(([quantile, limit]) => quantile && limit)) set.limits = limits;
    if (Array.from(form.elements.objective.options, (one) => one.value).includes(said.get("objective"))) set.objective = said.get("objective");
    if (said.has("demand")) set.demand = amount(said.get("demand"));
    if (said.has("share")) set.share = Math.min(1, amount(said.get("share")) || 1);
    if (said.get("basis") === "spot" && model.rows.some((row) => row.spot_usd_per_hour !== null)) set.basis = "spot";
    for (const one of said.getAll("price")) {
      const at = one.lastIndexOf("=");
      const [name, price] = [one.slice(0, at), Number(one.slice(at + 1))];
      if (model.rows.some((row) => row.instance === name) && one.slice(at + 1) !== "" && Number.isFinite(price) && price >= 0) set.prices[name] = price;
    }
    return set;
  }

  // What is shown. Text only ever enters the page as text.
  function element(tag, attributes, ...content) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...content.filter((one) => one !== null && one !== undefined));
    return made;
  }
  const small = (said) => (said ? element("small", {}, said) : null);
  const cell = (name, said, detail) => element("td", { role: "cell", class: "num", "data-label": name }, said, small(detail));
  function shown(one, set, columns) {
    const ranked = one.rank !== null;
    const name = element("th", { scope: "row", role: "rowheader" }, element("a", { href: "#" + one.row.anchor }, element("bdi", {}, one.row.label)));
    if (one.row.projected) name.append(" ", element("span", { class: "pill projected" }, "projected"));
    name.append(small(one.row.instance + (one.price === null ? ", no price" : ", $" + Number(one.price.toPrecision(6)) + "/h")));
    if (!ranked) name.append(element("small", { class: "why-not" }, one.reason));
    const cells = [
      written(one.cost, true),
      written(one.capacity, false),
      [one.instances === null ? DASH : one.instances.toLocaleString("en-US"), one.instances === null ? null : (one.instances + 1).toLocaleString("en-US") + " to lose one"],
      [plain(one.month, true), one.safe === null ? null : plain(one.safe, true) + " to lose one"],
      [plain(one.latency), null],
      [percent(one.best), null],
    ];
    const rank = element("td", { role: "cell", class: "rank" }, ranked ? String(one.rank) : DASH, one.tied ? small("tied") : null);
    const kind = [ranked && one.rank === 1 && one.first ? "winner" : "", ranked ? "" : "unranked", one.row.projected ? "projected" : ""].filter(Boolean).join(" ");
    const row = element("tr", { role: "row", "data-id": one.row.anchor, class: kind }, rank, name);
    cells.forEach(([said, detail], at) => row.append(cell(columns[at], said, detail)));
    return row;
  }
  function sentence(lines, set) {
    const best = lines[0];
    if (!best || best.rank === null) return "No candidate can be ranked with these settings.";
    const parts = [best.row.label + (best.row.projected ? " (projected)" : "") + (best.tied ? " comes first, tied with others" : " comes first")];
    if (best.cost[0] !== null) parts.push(written(best.cost, true)[0] + " per million");
    if (best.instances !== null) parts.push(best.instances.toLocaleString("en-US") + (best.instances === 1 ? " instance" : " instances"));
    if (best.month !== null) parts.push(plain(best.month, true) + " a month");
    return parts.join(", ") + (unchanged(set) ? ". These are the run's own settings." : ".");
  }
  function show(set) {
    const lines = outcome(set);
    const table = document.getElementById("whatif-table");
    const columns = Array.from(table.tHead.rows[0].cells, (one) => one.textContent).slice(2);
    if (set.limits.length) {
      columns[4] = label(set.limits[0][0]) + " at its load, ms";
      table.tHead.rows[0].cells[6].textContent = columns[4];
    }
    if (lines.length) lines[0].first = true;
    // Who could not be ranked under any settings stands in the run's own ranking, with the reason.
    table.tBodies[0].replaceChildren(...lines.filter((one) => one.row.may_rank).map((one) => shown(one, set, columns)));
    document.getElementById("whatif-said").textContent = sentence(lines, set);
  }
  let address = "";
  function changed() {
    const set = fromControls();
    show(set);
    address = toAddress(set);
    history.replaceState(null, "", "#" + (address || "whatif"));
  }
  // A link to a candidate changes the address, not the settings.
  function followed() {
    const now = location.hash.slice(1);
    if (!now.includes("=") || now === address) return;
    address = now;
    const set = fromAddress(now);
    toControls(set);
    show(set);
  }
  form.addEventListener("input", changed);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => { toControls(own()); changed(); }));
  window.addEventListener("hashchange", followed);
  toControls(own());
  show(own());
  followed();
  form.hidden = false;
})();
