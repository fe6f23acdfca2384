/**
 * The UDP sockets of one exchange.
 *
 * @module
 */
/// <reference lib="deno.unstable" />
import type { Datagram } from "./exchange.ts";
import { formatIp } from "../../../host/ip.ts";

/** Ports and addresses of an exchange. */
export interface UdpSocketsOptions {
  /** Addresses to listen on; the first one also sends. */
  readonly hostnames: readonly string[];
  readonly port: number;
  /** The servers' port. */
  readonly serverPort: number;
  /** Zone behind the addresses of servers: `%3` for interface 3. */
  readonly zone?: string | undefined;
}

interface Arrival {
  readonly socket: Deno.DatagramConn;
  readonly packet?: Uint8Array | undefined;
}

/** Largest UDP datagram, in bytes. */
const largest = 65_536;

/** Sockets that send and receive. They share their port with programs that allow it. */
export class UdpSockets {
  readonly #sockets: readonly Deno.DatagramConn[];
  readonly #options: UdpSocketsOptions;
  readonly #pending = new Map<Deno.DatagramConn, Promise<Arrival>>();

  private constructor(options: UdpSocketsOptions) {
    const { hostnames, port } = options;
    this.#options = options;
    this.#sockets = hostnames.map((hostname) =>
      Deno.listenDatagram({ transport: "udp", hostname, port, reuseAddress: true })
    );
  }

  /**
   * Opens the sockets. Rejects with `Deno.errors.AddrInUse` when another program has the port, and with
   * an error that has an {@linkcode unreachableText} when an address or a link is gone.
   */
  // deno-lint-ignore require-await -- an error becomes a rejection.
  static async open(options: UdpSocketsOptions): Promise<UdpSockets> {
    return new UdpSockets(options);
  }

  /** Sends a datagram. Gives the system's error text when nothing can be sent any more: no route, or no link. */
  async send({ bytes, to }: Datagram): Promise<string | undefined> {
    const { serverPort: port, zone = "" } = this.#options;
    const address = { transport: "udp", hostname: `${formatIp(to)}${zone}`, port } as const;
    return await this.#sockets[0]!.send(bytes, address).then(() => undefined, unreachableText);
  }

  /** Gives the next datagram; `undefined` when none arrives for some milliseconds. */
  async receive(wait: number): Promise<Uint8Array | undefined> {
    // However many packets arrive, the exchange has to get the time, too.
    if (wait <= 0) return undefined;
    const { promise: late, resolve } = Promise.withResolvers<undefined>();
    const timer = setTimeout(() => resolve(undefined), wait);
    const arrival = await Promise.race([late, ...this.#sockets.map((it) => this.#next(it))]);
    clearTimeout(timer);
    if (arrival) this.#pending.delete(arrival.socket);
    return arrival && (arrival.packet ?? new Uint8Array());
  }

  #next(socket: Deno.DatagramConn): Promise<Arrival> {
    const known = this.#pending.get(socket);
    if (known) return known;
    const next = socket.receive(new Uint8Array(largest)).then(
      ([packet]) => ({ socket, packet }),
      () => ({ socket }),
    );
    this.#pending.set(socket, next);
    return next;
  }
}

/**
 * Gives the text of an error after which nothing can be sent any more; `undefined` for an error that
 * may pass, such as of a link without a carrier, a full queue or a rule that drops. Not every error of
 * Deno has a code, but each has the system's number.
 */
export function unreachableText({ message }: Error): string | undefined {
  const [, number] = /\(os error (\d+)\)$/.exec(message) ?? [];
  return unreachableErrors.includes(Number(number)) ? message : undefined;
}

/** ENXIO, ENODEV, EADDRNOTAVAIL, ENETDOWN, ENETUNREACH, EHOSTUNREACH. */
const unreachableErrors = [6, 19, 99, 100, 101, 113];
