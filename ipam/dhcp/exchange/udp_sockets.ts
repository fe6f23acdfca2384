/**
 * The UDP sockets of one exchange.
 *
 * @module
 */
/// <reference lib="deno.unstable" />
import type { Datagram } from "./exchange4.ts";
import { formatIp } from "../../../host/ip.ts";

/** Where an exchange speaks. */
export interface SocketOptions {
  /** Addresses to listen on; the first one sends. */
  readonly hostnames: readonly string[];
  readonly port: number;
  /** The port that servers listen on. */
  readonly serverPort: number;
  /** What goes behind the addresses of servers: `%3` for interface 3. */
  readonly zone?: string | undefined;
}

interface Arrival {
  readonly socket: Deno.DatagramConn;
  readonly packet?: Uint8Array | undefined;
}

/** Room for whatever UDP carries. */
const largest = 65_536;

/** Sockets that send and receive. They share their port with those who let them. */
export class Sockets {
  readonly #sockets: readonly Deno.DatagramConn[];
  readonly #options: SocketOptions;
  readonly #pending = new Map<Deno.DatagramConn, Promise<Arrival>>();

  private constructor(options: SocketOptions) {
    const { hostnames, port } = options;
    this.#options = options;
    this.#sockets = hostnames.map((hostname) =>
      Deno.listenDatagram({ transport: "udp", hostname, port, reuseAddress: true })
    );
  }

  /**
   * Opens them. Rejects with `Deno.errors.AddrInUse` where another program has the port, and with an
   * error that is {@linkcode fatal} where an address or a link has gone.
   */
  // deno-lint-ignore require-await -- what it throws is to be caught.
  static async open(options: SocketOptions): Promise<Sockets> {
    return new Sockets(options);
  }

  /** Gives the system's words when nothing can be sent any more: no route, or no link. */
  async send({ bytes, to }: Datagram): Promise<string | undefined> {
    const { serverPort: port, zone = "" } = this.#options;
    const address = { transport: "udp", hostname: `${formatIp(to)}${zone}`, port } as const;
    return await this.#sockets[0]!.send(bytes, address).then(() => undefined, fatal);
  }

  /** The next datagram, or nothing when there is none for so many milliseconds. */
  async receive(wait: number): Promise<Uint8Array | undefined> {
    // However many packets come, the time is told, too.
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
 * Words for what does not pass, as a link without a carrier, a full queue or a rule that drops does.
 * Deno gives not every error a code, but each the system's number.
 */
export function fatal({ message }: Error): string | undefined {
  const [, number] = /\(os error (\d+)\)$/.exec(message) ?? [];
  return fatalNumbers.includes(Number(number)) ? message : undefined;
}

/** ENXIO, ENODEV, EADDRNOTAVAIL, ENETDOWN, ENETUNREACH, EHOSTUNREACH. */
const fatalNumbers = [6, 19, 99, 100, 101, 113];
