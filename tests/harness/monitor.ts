/**
 * Everything the kernel reports about links of a namespace, from start to stop
 * (`ip monitor link`).
 *
 * @module
 */
import { Child } from "./process.ts";
import type { Sandbox } from "./sandbox.ts";

const probe = "monitor-probe0";

/** A running monitor. Make it with {@linkcode LinkMonitor.start}. */
export class LinkMonitor implements AsyncDisposable {
  readonly #child: Child;
  readonly #sandbox: Sandbox;
  readonly #netns: string;

  private constructor(sandbox: Sandbox, netns: string) {
    this.#sandbox = sandbox;
    this.#netns = netns;
    this.#child = new Child(
      ["nsenter", `--net=${netns}`, "--", "ip", "-o", "monitor", "link"],
      {},
    );
  }

  /** Starts one; it misses nothing that happens after this has returned. */
  static async start(sandbox: Sandbox, netns: string): Promise<LinkMonitor> {
    const monitor = new LinkMonitor(sandbox, netns);
    const heard = monitor.#hearProbe();
    let done = false;
    heard.then(() => done = true);
    // It does not say when it has begun to listen: make noise until it is heard.
    while (!done) await monitor.#makeNoise();
    return monitor;
  }

  /** Stops and gives every line since the start, one for each event. */
  async stop(): Promise<string[]> {
    const lines: string[] = [];
    const heard = this.#hearProbe(lines);
    await this.#makeNoise();
    await heard;
    return lines;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child[Symbol.asyncDispose]();
  }

  async #makeNoise(): Promise<void> {
    await this.#sandbox.ip(this.#netns, [
      `link add name ${probe} type bridge`,
      `link del ${probe}`,
    ]);
  }

  /** Reads until the probe's end is reported; lines about others are kept. */
  async #hearProbe(lines: string[] = []): Promise<void> {
    for (;;) {
      const line = await this.#child.line();
      if (line === undefined) throw new Error("Cannot hear links: the monitor has ended");
      if (!line.includes(` ${probe}:`)) lines.push(line);
      else if (line.startsWith("Deleted")) return;
    }
  }
}
