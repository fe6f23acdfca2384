/**
 * Packets between namespaces. Reachability is proved by a real connection and a
 * real answer, never by the text of a rule.
 *
 * @module
 */
import type { AgentReply, AgentRequest, Flow, Outcome, Transport } from "./agent.ts";
import { Child } from "./process.ts";

export type { Flow, Outcome, Transport } from "./agent.ts";

/** Options of a call. */
export interface CallOptions {
  /** `tcp` when absent. */
  readonly transport?: Transport;
  /** Milliseconds until it gives up; 3,000 when absent. */
  readonly timeout?: number;
}

type Body<T> = T extends unknown ? Omit<T, "id"> : never;

/** A process inside one namespace that opens sockets for the test. */
export class Agent implements AsyncDisposable {
  readonly #child: Child;
  readonly #waiting = new Map<number, (reply: AgentReply) => void>();
  #serial = 0;

  /** Starts one in the namespace at `netns`. */
  constructor(netns: string) {
    this.#child = new Child([
      "nsenter",
      `--net=${netns}`,
      "--",
      Deno.execPath(),
      "run",
      "--quiet",
      "--no-config",
      "--no-lock",
      "--no-check",
      "--allow-net",
      "--unstable-net",
      new URL("agent.ts", import.meta.url).pathname,
    ], {});
    this.#listen();
  }

  /** Opens a server on all addresses of a family and gives its port. It is open when this returns. */
  async listen(
    transport: Transport,
    options: { port?: number; address?: string } = {},
  ): Promise<number> {
    const { port = 0, address = "0.0.0.0" } = options;
    const reply = await this.#ask({ do: "listen", transport, port, address });
    if ("port" in reply) return reply.port;
    throw new Error(`Cannot listen on port ${port}: ${JSON.stringify(reply)}`);
  }

  /** Calls a server and waits for its answer. */
  async call(
    address: string,
    port: number,
    options: CallOptions = {},
  ): Promise<Outcome> {
    const { transport = "tcp", timeout = 3000 } = options;
    const reply = await this.#ask({
      do: "call",
      transport,
      port,
      address,
      timeout,
    });
    if ("outcome" in reply) return reply.outcome;
    throw new Error(`Cannot call ${address}: ${JSON.stringify(reply)}`);
  }

  /**
   * Whether an address answers at all: a TCP connection to a port where nobody
   * listens comes back refused.
   */
  async ping(address: string, timeout = 3000): Promise<boolean> {
    const { is } = await this.call(address, 9, { timeout });
    return is === "refused" || is === "answered";
  }

  /** Opens a TCP server on all addresses that sends as much as callers take, and gives its port. */
  async pour(address = "0.0.0.0"): Promise<number> {
    const reply = await this.#ask({ do: "pour", address });
    if ("port" in reply) return reply.port;
    throw new Error(`Cannot listen: ${JSON.stringify(reply)}`);
  }

  /** Takes from such a server for some milliseconds. */
  async draw(address: string, port: number, duration: number): Promise<Flow> {
    const reply = await this.#ask({ do: "draw", address, port, duration });
    if ("flow" in reply) return reply.flow;
    throw new Error(`Cannot draw from ${address}: ${JSON.stringify(reply)}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child[Symbol.asyncDispose]();
  }

  async #ask(body: Body<AgentRequest>): Promise<AgentReply> {
    const id = this.#serial++;
    const { promise, resolve } = Promise.withResolvers<AgentReply>();
    this.#waiting.set(id, resolve);
    await this.#child.say(JSON.stringify({ id, ...body }));
    return await promise;
  }

  async #listen(): Promise<void> {
    for (
      let line = await this.#child.line();
      line !== undefined;
      line = await this.#child.line()
    ) {
      const reply: AgentReply = JSON.parse(line);
      this.#waiting.get(reply.id)?.(reply);
      this.#waiting.delete(reply.id);
    }
    for (const [id, resolve] of this.#waiting) {
      resolve({ id, error: "the agent has ended" });
    }
  }
}
