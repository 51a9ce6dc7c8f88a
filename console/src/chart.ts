const SPAN_MS = 30_000;
const SAMPLE_MS = 250;
/** The scale never shrinks below this, so that a trickle does not look like a flood. */
const SCALE_MIN = 20;

/** Tokens per second over the last half minute, and where the connection was cut. */
export class Chart {
  #samples: [at: number, rate: number][] = [];
  #cuts: number[] = [];

  constructor(readonly canvas: HTMLCanvasElement) {}

  cut(): void {
    this.#cuts.push(performance.now());
  }

  /** Whether a sample is due. */
  due(now: number): boolean {
    return now - (this.#samples.at(-1)?.[0] ?? -Infinity) >= SAMPLE_MS;
  }

  draw(now: number, rate: number): void {
    this.#samples.push([now, rate]);
    const oldest = now - SPAN_MS;
    while (this.#samples[1] !== undefined && this.#samples[1][0] < oldest) this.#samples.shift();
    this.#cuts = this.#cuts.filter((at) => at >= oldest);

    const { canvas } = this;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    const scale = window.devicePixelRatio;
    const context = canvas.getContext("2d");
    if (context === null || width === 0) return;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);

    const style = getComputedStyle(canvas);
    // By the median: what a late viewer is sent at once would flatten everything else.
    const rates = this.#samples.map(([, value]) => value).filter((value) => value > 0).sort((a, b) => a - b);
    const peak = Math.max(SCALE_MIN, Math.ceil((rates[rates.length >> 1] ?? 0) / 10) * 20);
    const x = (at: number): number => width - ((now - at) / SPAN_MS) * width;
    const y = (value: number): number => height - 2 - (Math.min(value, peak) / peak) * (height - 18);
    const line = new Path2D();
    this.#samples.forEach(([at, value], index) => (index === 0 ? line.moveTo(x(at), y(value)) : line.lineTo(x(at), y(value))));
    const area = new Path2D(line);
    area.lineTo(x(now), height);
    area.lineTo(x(this.#samples[0]![0]), height);
    const tone = style.getPropertyValue("--tone-now");
    context.fillStyle = tone;
    context.globalAlpha = 0.16;
    context.fill(area);
    context.globalAlpha = 1;
    context.strokeStyle = tone;
    context.lineWidth = 1.75;
    context.lineJoin = "round";
    context.stroke(line);

    context.strokeStyle = style.getPropertyValue("--bad-now");
    context.setLineDash([3, 3]);
    for (const at of this.#cuts) {
      context.beginPath();
      context.moveTo(x(at), 0);
      context.lineTo(x(at), height);
      context.stroke();
    }
    context.setLineDash([]);
    context.fillStyle = style.color;
    context.font = `11px ${style.fontFamily}`;
    context.fillText(`${peak} tokens/s, last 30 s`, 6, 12);
    canvas.setAttribute("aria-label", `Tokens per second over the last 30 seconds, now ${Math.round(rate)}`);
  }
}
