/** The curves of the last hour. */

import uPlot from "uplot";

export interface Sample {
  at: number;
  cpu_percent: number;
  memory_used: number;
  gpu_percent: number | null;
  gpu_memory_used: number | null;
  gpu_temperature_c: number | null;
  calls: number;
}

export type Columns = { [Name in keyof Sample]: Sample[Name][] };

interface Kind {
  column: keyof Sample;
  /** What a figure is divided by before it is drawn. */
  per: number;
  unit: string;
  /** The least top of the scale. */
  top: number;
  digits: number;
}

const GIB = 2 ** 30;
const HEIGHT = 150;
const HOUR_S = 3_600;
const LONGEST = 1_800;
const KINDS: Record<string, Kind> = {
  cpu: { column: "cpu_percent", per: 1, unit: "%", top: 100, digits: 0 },
  memory: { column: "memory_used", per: GIB, unit: " GiB", top: 1, digits: 1 },
  gpu: { column: "gpu_percent", per: 1, unit: "%", top: 100, digits: 0 },
  vram: { column: "gpu_memory_used", per: GIB, unit: " GiB", top: 1, digits: 1 },
  heat: { column: "gpu_temperature_c", per: 1, unit: " °C", top: 90, digits: 0 },
  calls: { column: "calls", per: 1, unit: "", top: 4, digits: 0 },
};

/** All charts below an element: each `figure[data-chart]` shows one figure. */
export class Charts {
  private readonly columns: Columns = {
    at: [],
    cpu_percent: [],
    memory_used: [],
    gpu_percent: [],
    gpu_memory_used: [],
    gpu_temperature_c: [],
    calls: [],
  };
  private readonly drawn = new Map<HTMLElement, uPlot>();
  private readonly sizes = new ResizeObserver((entries) => {
    for (const { target, contentRect } of entries) {
      this.drawn.get(target as HTMLElement)?.setSize({ width: Math.floor(contentRect.width), height: HEIGHT });
    }
  });

  constructor(private readonly place: HTMLElement) {
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
  }

  /** Show this history. */
  show(columns: Columns): void {
    for (const name of Object.keys(this.columns) as (keyof Sample)[]) this.columns[name] = columns[name] as never;
    this.redraw();
  }

  /** Add the newest moment; one that is known already changes nothing. */
  add(sample: Sample): void {
    const last = this.columns.at.at(-1) ?? 0;
    if (sample.at <= last) return;
    for (const name of Object.keys(this.columns) as (keyof Sample)[]) {
      const column = this.columns[name] as (number | null)[];
      column.push(sample[name]);
      if (column.length > LONGEST) column.shift();
    }
    for (const [figure, plot] of this.drawn) plot.setData(this.data(kindOf(figure)));
    this.describe();
  }

  private redraw(): void {
    for (const plot of this.drawn.values()) plot.destroy();
    this.drawn.clear();
    for (const figure of this.place.querySelectorAll<HTMLElement>("figure[data-chart]")) {
      const kind = kindOf(figure);
      this.drawn.set(figure, new uPlot(options(kind, figure.clientWidth), this.data(kind), figure));
      this.sizes.observe(figure);
    }
    this.describe();
  }

  /** What a curve shows, for those who cannot see it. */
  private describe(): void {
    for (const [figure, plot] of this.drawn) {
      const kind = kindOf(figure);
      const values = (this.data(kind)[1] as (number | null)[]).filter((value) => value !== null);
      const now = values.at(-1);
      const name = figure.querySelector("figcaption")?.textContent ?? "";
      plot.root.setAttribute("role", "img");
      plot.root.setAttribute(
        "aria-label",
        now === undefined
          ? `${name}: nothing yet`
          : `${name}: ${said(now, kind)} now, at most ${said(Math.max(...values), kind)} in the last hour`,
      );
    }
  }

  private data(kind: Kind): uPlot.AlignedData {
    const values = this.columns[kind.column] as (number | null)[];
    return [this.columns.at, values.map((value) => (value === null ? null : value / kind.per))];
  }
}

function kindOf(figure: HTMLElement): Kind {
  return KINDS[figure.dataset["chart"] ?? ""] ?? (KINDS["cpu"] as Kind);
}

function said(value: number, kind: Kind): string {
  return `${value.toFixed(kind.digits)}${kind.unit}`;
}

function minute(at: number): string {
  return new Date(at * 1000).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
}

function options(kind: Kind, width: number): uPlot.Options {
  const look = getComputedStyle(document.documentElement);
  const colour = (name: string): string => look.getPropertyValue(name).trim();
  const axis: uPlot.Axis = {
    stroke: colour("--soft"),
    font: "12px system-ui, sans-serif",
    grid: { stroke: colour("--rule"), width: 1 },
    ticks: { show: false },
  };
  return {
    width: Math.max(width, 120),
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    padding: [8, 4, 0, 0],
    scales: {
      x: { time: true, range: (_plot, _least, most) => [(most || Date.now() / 1000) - HOUR_S, most || Date.now() / 1000] },
      y: { range: (_plot, _least, most) => [0, Math.max(kind.top, Math.ceil((most || 0) * 1.1))] },
    },
    series: [{}, { stroke: colour("--accent"), fill: `${colour("--accent")}22`, width: 1.5, points: { show: false } }],
    axes: [
      { ...axis, space: 70, size: 28, values: (_plot, moments) => moments.map(minute) },
      { ...axis, size: 58, space: 34, values: (_plot, values) => values.map((value) => said(value, { ...kind, digits: 0 })) },
    ],
  };
}
